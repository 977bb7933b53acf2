package streams

import (
	"strings"

	"github.com/nats-io/nats.go"
)

// originalPrefix begins the original headers in a dead letter. So the server acts on none of them (a
// Nats-TTL, a Nats-Msg-Id), and none meets a header of the letter itself, since what users set never
// begins with Catga-.
const originalPrefix = "Catga-Orig-"

// original takes the original headers out of those of a dead letter; nil if there were none.
func original(header nats.Header) nats.Header {
	var h nats.Header
	for key, values := range header {
		name, ok := strings.CutPrefix(key, originalPrefix)
		if !ok {
			continue
		}
		if h == nil {
			h = make(nats.Header, len(header))
		}
		h[name] = values
	}
	return h
}

// headerText makes text a legal header value of at most limit bytes: control characters become
// spaces, it is cut between characters and has no space at its ends.
func headerText(text string, limit int) string {
	if len(text) > limit {
		text = strings.ToValidUTF8(text[:limit], "")
	}
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, text)
	return strings.TrimSpace(text)
}

const hexDigits = "0123456789ABCDEF"

// escape makes any string a header value that [unescape] turns back: control characters, %, and
// spaces at the ends are written %XX.
func escape(s string) string {
	plain := true
	for i := range len(s) {
		if escaped(s, i) {
			plain = false
			break
		}
	}
	if plain {
		return s
	}
	b := make([]byte, 0, len(s)+16)
	for i := range len(s) {
		if c := s[i]; escaped(s, i) {
			b = append(b, '%', hexDigits[c>>4], hexDigits[c&15])
		} else {
			b = append(b, c)
		}
	}
	return string(b)
}

func escaped(s string, i int) bool {
	c := s[i]
	return c < ' ' || c == 0x7f || c == '%' || (c == ' ' && (i == 0 || i == len(s)-1))
}

// unescape leaves what escape cannot have written as it is.
func unescape(s string) string {
	if !strings.Contains(s, "%") {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			hi, lo := strings.IndexByte(hexDigits, s[i+1]), strings.IndexByte(hexDigits, s[i+2])
			if hi >= 0 && lo >= 0 {
				b = append(b, byte(hi<<4|lo)) //nolint:gosec // two hexadecimal digits
				i += 2
				continue
			}
		}
		b = append(b, s[i])
	}
	return string(b)
}
