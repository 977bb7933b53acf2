package framework

import (
	"strconv"
	"strings"
	"time"

	"github.com/catga-go/catga/idempotency"
	"github.com/catga-go/catga/internal/wire"
	"github.com/catga-go/catga/streams"
)

// arrival is one delivery with what its headers say.
type arrival struct {
	*streams.Delivery

	kind      string // on the wire: may be a former name
	id        string
	userID    bool   // given by a user, so a repeat of it may come at any time
	reply     string // inbox of the waiting caller; "" = nobody waits
	token     string // of the caller's call
	fails     int    // failures so far that a header speaks of
	expiresIn time.Duration
}

func (h *handler) read(d *streams.Delivery) arrival {
	a := arrival{Delivery: d, kind: kindOf(d.Subject), reply: first(d, wire.Reply)}
	a.token = a.reply[strings.LastIndexByte(a.reply, '.')+1:]
	a.fails = number(first(d, wire.Fails))
	a.expiresIn = time.Duration(number(first(d, wire.ExpiresIn))) * time.Millisecond
	a.id, a.userID = identify(h.spec.request, a.kind, first(d, wire.ID), first(d, wire.MsgID))
	if a.id == "" { // of another client that gives none: its place in the stream is its name
		a.id = wire.AutoID + d.Stream + "-" + strconv.FormatInt(d.Created, 36) + "-" + strconv.FormatUint(d.Sequence, 10)
	}
	return a
}

// identify finds the ID in the headers: own is Catga-Id, server is Nats-Msg-Id. A request's ID
// stands as it is. An event's is either generated, or the user's behind its kind.
func identify(request bool, kind, own, server string) (id string, user bool) {
	if request {
		return unescapeID(own), own != "" && !strings.HasPrefix(own, wire.AutoID)
	}
	if own == "" {
		own = server
	}
	if own == "" || strings.HasPrefix(own, wire.AutoID) {
		return own, false
	}
	if mine, ok := strings.CutPrefix(own, kind+"/"); ok {
		return unescapeID(mine), true
	}
	return own, true // of another client: deduplicated by the server across kinds, by us within one
}

// wireID is the inverse of identify, for what is sent again.
func (a *arrival) wireID(request bool) string {
	switch {
	case request:
		return escapeID(a.id)
	case !a.userID:
		return a.id
	default:
		return a.kind + "/" + escapeID(a.id)
	}
}

// key is where the claim on the message lives.
func (a *arrival) key(h *handler) string {
	if h.spec.request {
		return idempotency.RequestKey(a.kind, a.id)
	}
	return idempotency.EventKey(h.ref.Group, a.kind, a.id)
}

// info is what the handler may know.
func (a *arrival) info(h *handler, attempt int) Info {
	return Info{
		Kind: a.kind, ID: a.id, Group: h.ref.Group, Node: h.ref.Node, QoS: h.ref.QoS, Attempt: attempt,
		Correlation: unescapeID(first(a.Delivery, wire.Correlation)),
		Causation:   unescapeID(first(a.Delivery, wire.Causation)),
		Published:   a.Published, Stream: a.Stream, Sequence: a.Sequence, Header: Header(a.Header),
	}
}

func first(d *streams.Delivery, key string) string {
	if v := d.Header[key]; len(v) > 0 {
		return v[0]
	}
	return ""
}

// number reads a count off a header. What is none, or absurd, counts as 0: headers are no place to
// crash on.
func number(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 || n > 1<<40 {
		return 0
	}
	return n
}

// kindOf is the kind in a subject: what stands behind ns.event, ns.request, ns.retry.<group> or
// ns.direct.<node>.
func kindOf(subject string) string {
	_, rest, _ := strings.Cut(subject, ".")
	where, rest, _ := strings.Cut(rest, ".")
	if where == "retry" || where == "direct" {
		_, rest, _ = strings.Cut(rest, ".")
	}
	return rest
}
