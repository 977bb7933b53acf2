package streams

import "strings"

// ackReply is what the server says about a delivery in the subject that acknowledges it.
type ackReply struct {
	delivered   uint64 // 1 for the first delivery
	streamSeq   uint64
	consumerSeq uint64
	published   int64 // when it was stored, nanoseconds since 1970, the server's clock
	pending     uint64
}

const (
	ackPrefix   = "$JS.ACK."
	ackTokensV1 = 9  // $JS.ACK.<stream>.<consumer>.<delivered>.<sseq>.<cseq>.<time>.<pending>
	ackTokensV2 = 11 // $JS.ACK.<domain>.<account>.<stream>.….<pending>[.<random>]
)

// parseAckReply reads both forms of the subject, without allocating.
func parseAckReply(subject string) (ackReply, bool) {
	tokens := strings.Count(subject, ".") + 1
	skip := 4 // up to and with the consumer
	switch {
	case !strings.HasPrefix(subject, ackPrefix):
		return ackReply{}, false
	case tokens >= ackTokensV2:
		skip = 6
	case tokens != ackTokensV1:
		return ackReply{}, false
	}
	rest := subject
	for range skip {
		_, rest, _ = strings.Cut(rest, ".")
	}
	var numbers [5]uint64
	for i := range numbers {
		var token string
		token, rest, _ = strings.Cut(rest, ".")
		n, ok := parseUint(token)
		if !ok {
			return ackReply{}, false
		}
		numbers[i] = n
	}
	return ackReply{
		delivered:   numbers[0],
		streamSeq:   numbers[1],
		consumerSeq: numbers[2],
		published:   int64(numbers[3] & (1<<63 - 1)),
		pending:     numbers[4],
	}, true
}

// parseUint reads what [strconv.ParseUint] would read of plain decimal digits, for at most 19 of them.
func parseUint[S string | []byte](s S) (uint64, bool) {
	if len(s) == 0 || len(s) > 19 {
		return 0, false
	}
	var n uint64
	for i := range len(s) {
		c := s[i]
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + uint64(c-'0')
	}
	return n, true
}
