package main

import (
	"bytes"
	"errors"
	"log/slog"
	"testing"
)

func TestHumanLines(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		log  func(*slog.Logger)
		want string
	}{
		{
			"an order's line says it all", func(l *slog.Logger) {
				l.With("node", "node1").Info("📦 Processing order abc12345 on node1", orderKey, "abc12345")
			},
			"[node1] 📦 Processing order abc12345 on node1\n",
		},
		{
			"attributes follow", func(l *slog.Logger) {
				l.With("node", "node1").Warn("no answer", "after", "2 s", "err", errors.New("a \"b\"\nc"), "n", 3, "s", "")
			},
			"[node1] WARN no answer after=\"2 s\" err=\"a 'b' c\" n=3 s=\"\"\n",
		},
		{
			"a node speaks of itself once", func(l *slog.Logger) { l.With("node", "node1").Info("left", "node_id", "node1") },
			"[node1] left\n",
		},
		{
			"a node speaks of another", func(l *slog.Logger) { l.With("node", "node1").Info("left", "node", "node2") },
			"[node1] left node=node2\n",
		},
		{"a line of no node", func(l *slog.Logger) { l.Error("boom") }, "ERROR boom\n"},
		{
			"groups", func(l *slog.Logger) {
				l.WithGroup("a").With("b", 1).Info("x", slog.Group("c", "d", 2), slog.Group("", "e", 3))
			},
			"x a.b=1 a.c.d=2 a.e=3\n",
		},
		{"below the level", func(l *slog.Logger) { l.Debug("x") }, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			tt.log(newLogger(&out, false, slog.LevelInfo))
			if out.String() != tt.want {
				t.Errorf("wrote %q, want %q", &out, tt.want)
			}
		})
	}
}

func TestJSONLinesCarryTheOrder(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	newLogger(&out, true, slog.LevelInfo).With("node", "node1").Info("x", orderKey, "abc12345")
	if want := []byte(`"msg":"x","node":"node1","order_id":"abc12345"}`); !bytes.Contains(out.Bytes(), want) {
		t.Errorf("wrote %s, want %s in it", &out, want)
	}
}
