package main

import (
	"errors"
	"strings"
)

// maxKey bounds an idempotency key, in bytes.
const maxKey = 255

var errBadKey = errors.New("Idempotency-Key is not one string of 1 to 255 visible characters, quoted or not")

// parseKey reads the values of the Idempotency-Key header: the string of a structured field
// (RFC 8941: in quotes, with \" and \\), or the same without quotes. No header is "".
func parseKey(values []string) (string, error) {
	if len(values) == 0 {
		return "", nil
	}
	key := strings.Trim(values[0], " \t")
	bare := !strings.HasPrefix(key, `"`)
	if !bare {
		var ok bool
		if key, ok = unquote(key); !ok {
			return "", errBadKey
		}
	}
	if len(values) > 1 || key == "" || len(key) > maxKey || !isPrintable(key) || bare && strings.ContainsAny(key, ` "`) {
		return "", errBadKey
	}
	return key, nil
}

// unquote returns what a structured field's string says.
func unquote(s string) (string, bool) {
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '"':
			return b.String(), i == len(s)-1
		case '\\':
			i++
			if i == len(s) || s[i] != '"' && s[i] != '\\' {
				return "", false
			}
		}
		b.WriteByte(s[i])
	}
	return "", false // the closing quote is missing
}

func isPrintable(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}
