package framework

import (
	"fmt"
	"reflect"
)

// outKind is what the node has to know to send messages of one kind, resolved once.
type outKind struct {
	kind        string
	subject     string // where messages for any node or group go
	codec       Codec
	contentType string // "" where it is the default and not written
	published   func(outcome string, took took)
	requested   func(outcome string, took took)
}

type outKey struct {
	spec *typeSpec // nil for what a gateway sends
	kind string
	qos  QoS
}

// route finds the outKind of a message.
func (n *Node) route(out *Outgoing) (*outKind, error) {
	key := outKey{out.spec, out.Kind, out.QoS}
	if k, ok := n.outKinds.get(key); ok {
		return k, nil
	}
	k, err := n.resolve(out)
	if err != nil {
		return nil, err
	}
	k, _ = n.outKinds.add(key, k)
	return k, nil
}

func (n *Node) resolve(out *Outgoing) (*outKind, error) {
	if err := n.checkKind(out); err != nil {
		return nil, err
	}
	k := &outKind{kind: out.Kind, codec: n.codecs.writing(out.Kind, out.spec)}
	if t := k.codec.ContentType(); t != jsonType {
		k.contentType = t
	}
	ref := KindRef{Kind: out.Kind, QoS: out.QoS}
	k.published = n.publishHooks(ref)
	switch {
	case out.request != nil:
		k.subject = n.names.Request(out.Kind)
		k.requested = n.requestHooks(ref)
	case out.QoS == AtMostOnce:
		k.subject = n.names.Signal(out.Kind)
	default:
		k.subject = n.names.Event(out.Kind)
	}
	return k, nil
}

// checkKind validates what did not come through Publish or Send, and sees to it that one kind is
// one Go type on this node.
func (n *Node) checkKind(out *Outgoing) error {
	if out.spec != nil {
		if out.Kind != out.spec.kind || out.QoS != out.spec.qos {
			return &ConfigError{"Outgoing.Kind", out.Kind, "was changed by a publish middleware; kind and QoS belong to the type"}
		}
		return n.claimKind(out.spec.kind, out.spec)
	}
	if reason := badKind(out.Kind); reason != "" {
		return &ConfigError{"Outgoing.Kind", out.Kind, reason}
	}
	if out.QoS > AtLeastOnce {
		return &ConfigError{"Outgoing.QoS", out.QoS, "is neither AtMostOnce nor AtLeastOnce"}
	}
	return nil
}

// claimKind binds a kind to a Go type for the life of the node.
func (n *Node) claimKind(kind string, s *typeSpec) error {
	mine := kindOwner{s.goType, s.qos, s.request}
	if owner, added := n.kindOwners.add(kind, mine); !added && owner != mine {
		return &ConfigError{
			"kind of " + s.goType.String(), kind,
			fmt.Sprintf("is taken by %s on this node; a kind is one Go type with one guarantee", owner.goType),
		}
	}
	return nil
}

type kindOwner struct {
	goType  reflect.Type
	qos     QoS
	request bool
}
