package streams

import "strings"

// Names of everything that belongs to one namespace. A Names is an immutable value. Its methods
// build strings: call them at registration, not per message. They do not check their arguments.
type Names struct {
	ns string
}

// NewNames names the assets of the namespace ns, which is not checked here: see
// [CheckNamespace].
func NewNames(ns string) Names { return Names{ns: ns} }

// Namespace is what the names were made from.
func (n Names) Namespace() string { return n.ns }

// Events is the name of the stream of QoS 1 events, such as CATGA_EVENTS.
func (n Names) Events() string { return strings.ToUpper(n.ns) + "_EVENTS" }

// Requests is the name of the stream of requests, such as CATGA_REQUESTS.
func (n Names) Requests() string { return strings.ToUpper(n.ns) + "_REQUESTS" }

// Dead is the name of the stream of dead letters, such as CATGA_DEAD.
func (n Names) Dead() string { return strings.ToUpper(n.ns) + "_DEAD" }

// Signal is the core subject of a QoS 0 event.
func (n Names) Signal(kind string) string { return n.ns + ".signal." + kind }

// Event is the subject of a QoS 1 event.
func (n Names) Event(kind string) string { return n.ns + ".event." + kind }

// Retry is the subject of an event that is sent again for one group.
func (n Names) Retry(group, kind string) string { return n.ns + ".retry." + group + "." + kind }

// Request is the subject of a request for any node.
func (n Names) Request(kind string) string { return n.ns + ".request." + kind }

// Direct is the subject of a request for one node.
func (n Names) Direct(node, kind string) string { return n.directPrefix(node) + kind }

// DirectAll is the filter that covers every request for one node.
func (n Names) DirectAll(node string) string { return n.directPrefix(node) + ">" }

func (n Names) directPrefix(node string) string { return n.ns + ".direct." + node + "." }

// KindOfDirect is the inverse of Direct: the kind that subject carries for node. It reports false if
// subject is none of node's direct subjects. It allocates nothing.
func (n Names) KindOfDirect(node, subject string) (kind string, ok bool) {
	rest := subject
	for _, part := range [...]string{n.ns, ".direct.", node, "."} {
		if rest, ok = strings.CutPrefix(rest, part); !ok {
			return "", false
		}
	}
	return rest, rest != ""
}

// SchedEvent is the subject of a schedule whose target is an event or a retry for group. No consumer
// filter covers it. The token makes it unique: see wire.Token.
func (n Names) SchedEvent(group, kind, token string) string {
	return n.ns + ".sched.event." + group + "." + kind + "." + token
}

// SchedRequest is the subject of a schedule whose target is a request.
func (n Names) SchedRequest(kind, token string) string {
	return n.ns + ".sched.request." + kind + "." + token
}

// DeadLetter is the subject of the dead letters of one group and kind.
func (n Names) DeadLetter(group, kind string) string { return n.ns + ".dead." + group + "." + kind }

// Durable is the consumer name of a group and kind: <group>:<kind>, dots of the kind written ~, since
// a consumer name has none.
func (n Names) Durable(group, kind string) string {
	return group + ":" + strings.ReplaceAll(kind, ".", "~")
}

// DirectDurable is the name of the consumer of everything that is sent to one node. On the stream of
// requests it cannot be mistaken for a Durable unless a group is called "direct".
func (n Names) DirectDurable(node string) string { return "direct:" + node }

// CheckNamespace reports whether ns is a namespace: a lower-case letter and then up to 31 lower-case
// letters, digits and hyphens. Upper case is refused because streams carry ns in capitals, so that
// two namespaces would share streams.
func CheckNamespace(ns string) bool {
	if ns == "" || len(ns) > 32 || ns[0] < 'a' || ns[0] > 'z' {
		return false
	}
	for i := range len(ns) {
		c := ns[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}
