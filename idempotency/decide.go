package idempotency

// Verdict is the answer to a claim.
type Verdict uint8

// The verdicts. Only the first two come with a [Claim].
const (
	Granted      Verdict = iota + 1 // run it
	Exhausted                       // it has killed its processes too often: give it up and finish it as Dead
	Busy                            // running in a session that is alive, perhaps this one: ask later
	WasDone                         // done before: Record holds the result
	WasDead                         // given up before: Record holds the error
	WasWithdrawn                    // the call was withdrawn: do not run it
	Reused                          // the key stands for another payload
)

// Ask is what a claimer wants.
type Ask struct {
	Key      string
	Hash     string // of the payload; "" = not compared
	Call     string // token of the call that sent the message; "" = none
	Fails    int    // failures known from elsewhere: the record will count at least so many
	MaxKills int    // so many kills and no further run; 0 = no limit
}

// decision is what a claimer does about what it found.
type decision struct {
	step    step
	verdict Verdict // of answer
	next    Record  // of take: who claims is filled in by the claimer
}

type step uint8

const (
	answer step = iota // with the verdict; nothing is written
	take               // replace what was found by next
	prove              // find out whether the session of the record is over, and decide again
)

// decide says what to do about f. The session self asks; busy says that another goroutine of it is
// at the key; holder is what is known about the session that f names.
func decide(f found, ask Ask, self string, busy bool, holder liveness) decision {
	if f.present {
		if v, ok := settled(f.Record, ask); ok {
			return decision{step: answer, verdict: v}
		}
	}
	if busy {
		return decision{step: answer, verdict: Busy}
	}
	if !f.present {
		return taking(Record{}, ask)
	}
	if f.State != Running || f.Session == self {
		return taking(f.Record, ask)
	}
	switch holder {
	case living:
		return decision{step: answer, verdict: Busy}
	case ended:
		r := f.Record
		r.Kills++
		return taking(r, ask)
	case unasked:
	}
	return decision{step: prove}
}

// settled returns the verdict that holds whoever may be running.
func settled(r Record, ask Ask) (Verdict, bool) {
	switch {
	case r.Hash != "" && ask.Hash != "" && r.Hash != ask.Hash:
		return Reused, true
	case r.State == Done:
		return WasDone, true
	case r.State == Dead:
		return WasDead, true
	case r.withdrew(ask.Call):
		return WasWithdrawn, true
	}
	return 0, false
}

// taking claims with the counts of r.
func taking(r Record, ask Ask) decision {
	next := Record{
		State: Running,
		Kills: r.Kills,
		Fails: max(r.Fails, ask.Fails),
		Hash:  orDefault(r.Hash, ask.Hash),
		Error: r.Error,
		Calls: r.Calls,
	}
	return decision{step: take, next: next}
}

// grant is the verdict for who has claimed r.
func grant(r Record, ask Ask) Verdict {
	if ask.MaxKills > 0 && r.Kills >= ask.MaxKills {
		return Exhausted
	}
	return Granted
}
