package main

import (
	"strings"
	"testing"
)

func TestIdempotencyKeyIsReadQuotedOrNot(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		values []string
		want   string
	}{
		{"none", nil, ""},
		{"bare", []string{"8e03978e-40d5"}, "8e03978e-40d5"},
		{"quoted", []string{`"8e03978e-40d5"`}, "8e03978e-40d5"},
		{"quoted with a space", []string{`"a b"`}, "a b"},
		{"escapes", []string{`"a\"b\\c"`}, `a"b\c`},
		{"space around", []string{"  abc\t"}, "abc"},
		{"bare with the marks of ids", []string{"a:b/c.d*e>f"}, "a:b/c.d*e>f"},
		{"as long as can be", []string{strings.Repeat("k", maxKey)}, strings.Repeat("k", maxKey)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got, err := parseKey(tt.values); err != nil || got != tt.want {
				t.Errorf("%q is %q, %v, want %q", tt.values, got, err, tt.want)
			}
		})
	}
}

func TestBadIdempotencyKeyIsRefused(t *testing.T) {
	t.Parallel()
	for _, values := range [][]string{
		{""},
		{`""`},
		{`"`},
		{`"abc`},
		{`abc"`},
		{`"abc"def`},
		{`"abc";p=1`},
		{`"a\bc"`},
		{`"abc\"`},
		{"a b"},
		{"ключ"},
		{"\"a\x01b\""},
		{"a", "b"},
		{strings.Repeat("k", maxKey+1)},
	} {
		if got, err := parseKey(values); err == nil {
			t.Errorf("%q is %q, want an error", values, got)
		}
	}
}
