package idempotency

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/catga-go/catga/internal/natstest"
)

// model says, in the fewest words, what a store promises to one actor at a time. Sessions are
// numbered; a killed one counts as over once its lease has passed.
type model struct {
	state  State // "" when nothing stands there
	holder int   // session of the running record
	kills  int
	fails  int
	calls  []string
}

type modelSession struct {
	*Session

	killed, over bool
	claims       map[string]*Claim
}

type modelRun struct {
	t        *rapid.T
	b        *bed
	keys     map[string]*model
	sessions []*modelSession
}

// noDeadline hides a method that may not be called in fake time.
type noDeadline struct{ rapid.TB }

func TestStore_DoesWhatTheModelDoes(t *testing.T) { //nolint:paralleltest // fake time runs alone
	natstest.FakeTime(t, func(t *testing.T) {
		b := newBed(t)
		rapid.Check(noDeadline{t}, func(rt *rapid.T) {
			r := &modelRun{t: rt, b: b, keys: map[string]*model{}}
			for range 3 {
				r.start()
			}
			for i := range 2 {
				r.keys[fmt.Sprintf("k.%s.%d", r.sessions[0].ID(), i)] = &model{}
			}
			rt.Repeat(map[string]func(*rapid.T){
				"claim":    func(*rapid.T) { r.claim() },
				"finish":   func(*rapid.T) { r.finish() },
				"record":   func(*rapid.T) { r.record() },
				"withdraw": func(*rapid.T) { r.withdraw() },
				"kill":     func(*rapid.T) { r.kill() },
				"end":      func(*rapid.T) { r.end() },
				"wait":     func(*rapid.T) { r.wait() },
				"":         func(*rapid.T) { r.check() },
			})
		})
	})
}

func (r *modelRun) start() {
	se, err := r.b.store.StartSession(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { crash(se) })
	r.sessions = append(r.sessions, &modelSession{Session: se, claims: map[string]*Claim{}})
}

func (r *modelRun) anyKey() (string, *model) {
	names := make([]string, 0, len(r.keys))
	for name := range r.keys {
		names = append(names, name)
	}
	slices.Sort(names)
	name := rapid.SampledFrom(names).Draw(r.t, "key")
	return name, r.keys[name]
}

// living draws a session that may still act.
func (r *modelRun) living() int {
	var ids []int
	for i, se := range r.sessions {
		if !se.killed && !se.over {
			ids = append(ids, i)
		}
	}
	return rapid.SampledFrom(ids).Draw(r.t, "session")
}

func (r *modelRun) claim() {
	i := r.living()
	name, m := r.anyKey()
	call := rapid.SampledFrom([]string{"", "c0", "c1"}).Draw(r.t, "call")
	a, err := r.sessions[i].Claim(r.t.Context(), Ask{Key: name, Call: call, MaxKills: 2})
	if err != nil {
		r.t.Fatal(err)
	}
	if want := r.expect(i, m, call); a.Verdict != want {
		r.t.Fatalf("verdict %v, want %v; model %+v, record %+v", a.Verdict, want, m, a.Record)
	}
	if a.Claim != nil {
		r.sessions[i].claims[name] = a.Claim
	}
}

// expect is the verdict, and moves the model as the claim moves the record.
func (r *modelRun) expect(session int, m *model, call string) Verdict {
	switch {
	case m.state == Done:
		return WasDone
	case m.state == Dead:
		return WasDead
	case call != "" && slices.Contains(m.calls, call):
		return WasWithdrawn
	case m.state == Running && !r.sessions[m.holder].over:
		return Busy // nobody forgets its own claims here
	case m.state == Running:
		m.kills++
	}
	m.state, m.holder = Running, session
	if m.kills >= 2 {
		return Exhausted
	}
	return Granted
}

// finish ends a claim of any session, of a killed one too.
func (r *modelRun) finish() {
	i := rapid.IntRange(0, len(r.sessions)-1).Draw(r.t, "session")
	name, m := r.anyKey()
	c := r.sessions[i].claims[name]
	if c == nil {
		r.t.Skip("holds no claim")
	}
	delete(r.sessions[i].claims, name)
	state := rapid.SampledFrom([]State{Done, Failed, Released, Dead}).Draw(r.t, "state")
	err := c.Finish(r.t.Context(), Finish{State: state})
	if m.state != Running || m.holder != i {
		if err == nil {
			r.t.Fatalf("finished although the model is at %+v", m)
		}
		return
	}
	if err != nil {
		r.t.Fatal(err)
	}
	m.end(state)
}

func (m *model) end(state State) {
	m.state = state
	switch {
	case state == Failed:
		m.fails++
	case state.final():
		m.calls = nil
	}
}

func (r *modelRun) record() {
	name, m := r.anyKey()
	state := rapid.SampledFrom([]State{Done, Failed}).Draw(r.t, "state")
	rec, err := r.sessions[r.living()].Record(r.t.Context(), Ask{Key: name}, Finish{State: state})
	if err != nil {
		r.t.Fatal(err)
	}
	if m.state == "" {
		m.end(state)
	}
	if rec.State != m.state {
		r.t.Fatalf("recorded %+v, model %+v", rec, m)
	}
}

func (r *modelRun) withdraw() {
	name, m := r.anyKey()
	call := rapid.SampledFrom([]string{"c0", "c1"}).Draw(r.t, "call")
	_, ok, err := r.b.store.Withdraw(r.t.Context(), name, call)
	if err != nil {
		r.t.Fatal(err)
	}
	if (m.state == "" || m.state == Withdrawn) && !slices.Contains(m.calls, call) {
		m.state, m.calls = Withdrawn, append(m.calls, call)
	}
	if want := slices.Contains(m.calls, call); ok != want {
		r.t.Fatalf("withdrawn %v, want %v; model %+v", ok, want, m)
	}
}

func (r *modelRun) kill() {
	i := r.living()
	crash(r.sessions[i].Session)
	r.sessions[i].killed = true
	r.start()
}

func (r *modelRun) end() {
	i := r.living()
	if err := r.sessions[i].End(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
	r.sessions[i].over = true
	r.start()
}

func (r *modelRun) wait() {
	advance(testLease + time.Second)
	for _, se := range r.sessions {
		se.over = se.over || se.killed
	}
}

func (r *modelRun) check() {
	for name, m := range r.keys {
		f, err := r.b.store.look(r.t.Context(), name)
		if err != nil {
			r.t.Fatal(err)
		}
		if f.State != m.state || f.Kills != m.kills || f.Fails != m.fails || len(f.Calls) != len(m.calls) {
			r.t.Fatalf("record %+v, model %+v", f.Record, m)
		}
	}
}
