package main

import (
	"context"
	"io"
	"log/slog"
	"slices"
	"strings"
)

// nodeKey is the attribute that becomes the "[node1]" of a line.
const nodeKey = "node"

// newLogger writes to w, which must stand concurrent writes of a line each, as a file does.
func newLogger(w io.Writer, json bool, level slog.Level) *slog.Logger {
	if json {
		return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level}))
	}
	return slog.New(&human{w: w, level: level})
}

// human writes lines for people:
//
//	[node1] 📦 Processing order abc12345 on node1
//	[node1] WARN reconnected url=nats://localhost:4222
//
// It is immutable: WithAttrs and WithGroup return changed copies.
type human struct {
	w      io.Writer
	level  slog.Level
	node   string // with brackets and a space, or ""
	attrs  string // rendered, each with a space before it
	groups string // each with a dot after it
}

// Enabled is part of slog.Handler.
func (h *human) Enabled(_ context.Context, level slog.Level) bool { return level >= h.level }

// Handle writes r in one call, so that lines do not mix.
func (h *human) Handle(_ context.Context, r slog.Record) error {
	line := *h
	r.Attrs(func(a slog.Attr) bool { line.add(a, h.groups); return true })
	var b strings.Builder
	b.WriteString(line.node)
	if r.Level != slog.LevelInfo {
		b.WriteString(r.Level.String() + " ")
	}
	b.WriteString(r.Message + line.attrs + "\n")
	_, err := io.WriteString(h.w, b.String())
	return err
}

// WithAttrs is part of slog.Handler.
func (h *human) WithAttrs(attrs []slog.Attr) slog.Handler {
	c := *h
	for _, a := range attrs {
		c.add(a, h.groups)
	}
	return &c
}

// WithGroup is part of slog.Handler.
func (h *human) WithGroup(name string) slog.Handler {
	c := *h
	if name != "" {
		c.groups += name + "."
	}
	return &c
}

// add renders one attribute. The message of an order's line says what its attributes do.
func (h *human) add(a slog.Attr, prefix string) {
	v := a.Value.Resolve()
	switch {
	case a.Equal(slog.Attr{}) || prefix == "" && a.Key == orderKey:
	case prefix == "" && a.Key == nodeKey && h.node == "":
		h.node = "[" + v.String() + "] "
	case prefix == "" && slices.Contains([]string{nodeKey, "node_id"}, a.Key) && h.node == "["+v.String()+"] ":
	case v.Kind() == slog.KindGroup:
		if a.Key != "" {
			prefix += a.Key + "."
		}
		for _, inner := range v.Group() {
			h.add(inner, prefix)
		}
	default:
		h.attrs += " " + prefix + a.Key + "=" + quoted(v.String())
	}
}

// quoted keeps a value of several words, or of none, in one piece.
func quoted(s string) string {
	if s == "" || strings.ContainsAny(s, " \t\r\n\"") {
		return `"` + strings.NewReplacer(`"`, `'`, "\n", " ", "\r", " ", "\t", " ").Replace(s) + `"`
	}
	return s
}
