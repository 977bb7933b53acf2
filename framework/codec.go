package framework

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"strings"
)

// Codec turns messages into bytes and back. Implementations are safe for concurrent use and keep
// neither v nor data.
type Codec interface {
	// ContentType goes with each message, so that a reader finds the codec it was written with.
	// "application/json" is the default and is not written on the wire.
	ContentType() string
	// Append appends the encoded v to dst and returns it, as append does.
	Append(dst []byte, v any) ([]byte, error)
	// Unmarshal decodes data into v, a pointer. For a message type *T it is the *T, never a **T.
	Unmarshal(data []byte, v any) error
}

const jsonType = "application/json"

// JSON is the default codec: encoding/json, HTML not escaped, unknown fields ignored.
func JSON() Codec { return jsonCodec{} }

type jsonCodec struct{}

func (jsonCodec) ContentType() string { return jsonType }

func (jsonCodec) Append(dst []byte, v any) ([]byte, error) {
	buf := bytes.NewBuffer(dst)
	enc := json.NewEncoder(buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return dst, err
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n")), nil
}

func (jsonCodec) Unmarshal(data []byte, v any) error { return json.Unmarshal(data, v) }

// codecs is what one node knows: a codec for each kind, and every codec by its content type.
// It is built by Connect and never changes.
type codecs struct {
	standard Codec
	byKind   map[string]Codec
	byType   map[string]Codec
}

func newCodecs(standard Codec, byKind map[string]Codec) (codecs, error) {
	if standard == nil {
		standard = JSON()
	}
	c := codecs{standard: standard, byKind: byKind, byType: map[string]Codec{jsonType: JSON()}}
	c.byType[mediaType(standard.ContentType())] = standard
	for kind, codec := range byKind {
		if codec == nil {
			return c, &ConfigError{"KindCodecs", kind, "has a nil codec"}
		}
		if reason := badKind(kind); reason != "" {
			return c, &ConfigError{"KindCodecs", kind, reason}
		}
		c.byType[mediaType(codec.ContentType())] = codec
	}
	return c, nil
}

// writing is the codec that kind is written with; spec may be nil.
func (c *codecs) writing(kind string, spec *typeSpec) Codec {
	if spec != nil && spec.codec != nil {
		return spec.codec
	}
	if codec, ok := c.byKind[kind]; ok {
		return codec
	}
	return c.standard
}

// reading finds the codec of a message by its content type; own is the one the kind is written with.
func (c *codecs) reading(contentType string, own Codec) (Codec, error) {
	if contentType == "" {
		contentType = jsonType
	}
	if contentType == own.ContentType() {
		return own, nil
	}
	if m := mediaType(contentType); m == mediaType(own.ContentType()) {
		return own, nil
	} else if codec, ok := c.byType[m]; ok {
		return codec, nil
	}
	return nil, fmt.Errorf("no codec for content type %q", contentType)
}

func mediaType(contentType string) string {
	m, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		return strings.ToLower(contentType)
	}
	return m
}

// encode calls a codec of the user's: what it panics with is an error, not the end of the process.
func encode(c Codec, v any) (data []byte, err error) {
	defer recoverInto(&err)
	return c.Append(nil, v)
}

func decode(c Codec, data []byte, v any) (err error) {
	defer recoverInto(&err)
	return c.Unmarshal(data, v)
}

func recoverInto(err *error) {
	if r := recover(); r != nil {
		*err = errors.Join(fmt.Errorf("codec panic: %v", r), *err)
	}
}
