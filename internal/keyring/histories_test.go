package keyring

import (
	"flag"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"pgregory.net/rapid"
)

// TestHistories plays random histories of schedules, spec changes, clock steps, failed and lost writes, crashes and two
// racing replicas, and judges the ring by what verifiers with stale copies would have seen.
func TestHistories(t *testing.T) {
	checks := "10000"
	if testing.Short() {
		checks = "1000"
	}
	if flag.Lookup("rapid.checks").Value.String() == flag.Lookup("rapid.checks").DefValue {
		if err := flag.Set("rapid.checks", checks); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = flag.Set("rapid.checks", flag.Lookup("rapid.checks").DefValue) })
	}
	rotations, compromises, histories := 0, 0, 0
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		for range rapid.IntRange(20, 60).Draw(t, "steps") {
			w.step()
			w.judge()
		}
		w.settle()
		histories++
		rotations += w.keys
		compromises += len(w.dead)
	})
	// A world in which nothing ever happens would satisfy every invariant.
	t.Logf("%d histories, %d keys, %d of them revoked or lost", histories, rotations, compromises)
	if rotations < 4*histories || compromises == 0 {
		t.Errorf("the histories were too tame to prove anything: %d keys and %d revoked or lost ones in %d", rotations, compromises, histories)
	}
}

// step lets one thing happen.
func (w *world) step() {
	r := &w.replicas[rapid.IntRange(0, 1).Draw(w.t, "replica")]
	switch rapid.IntRange(0, 20).Draw(w.t, "event") {
	case 0, 1, 2, 3, 4, 5:
		w.refresh(r)
		w.reconcile(r)
	case 6:
		w.reconcile(r) // on whatever stale copies it has
	case 7:
		r.jwks, r.mount = w.jwks.current(), w.mount.current() // its watches do not all lag alike
		w.reconcile(r)
	case 8, 9:
		w.passToDeadline()
	case 10:
		w.pass(time.Duration(rapid.IntRange(1, 8000).Draw(w.t, "ms")) * time.Millisecond)
	case 11:
		w.pass(time.Duration(rapid.IntRange(8, 200).Draw(w.t, "s")) * time.Second)
	case 12, 13, 14, 15:
		w.sign()
	case 16:
		r.clock = w.clockError()
	case 17:
		w.restart(r)
		w.reconcile(r)
	default:
		w.changeSpec()
	}
}

// pass lets the true time go on, and tokens expire with it.
func (w *world) pass(d time.Duration) {
	w.now = w.now.Add(d)
	// A verifier's clock can be behind by nothing and ahead by drift: the slowest sees a token expire last.
	w.tokens = slices.DeleteFunc(w.tokens, func(token signed) bool { return !w.now.Before(token.exp) })
}

// passToDeadline goes to where mistakes show: right after a key may be removed or promoted, by the fastest clock.
func (w *world) passToDeadline() {
	ring := w.ring.current()
	if ring == nil {
		return
	}
	deadlines := []time.Time{ring.RotationAt(w.now, *w.policies.current())}
	for i := range ring.Keys {
		deadlines = append(deadlines, ring.Keys[i].RemoveAfter)
	}
	if exchanged := w.mount.from; len(exchanged) > 0 {
		deadlines = append(deadlines, exchanged[len(exchanged)-1].Add(lag)) // the last moment of the last pod
	}
	at := deadlines[rapid.IntRange(0, len(deadlines)-1).Draw(w.t, "deadline")]
	at = at.Add(-rapid.SampledFrom([]time.Duration{drift, 0, time.Millisecond}).Draw(w.t, "before the deadline"))
	if at.After(w.now) {
		w.pass(at.Sub(w.now))
	}
}

// clockError is by how much a clock is ahead of the true time: often not at all, or as much as is allowed.
func (w *world) clockError() time.Duration {
	return rapid.SampledFrom([]time.Duration{0, drift, drift, drift / 2}).Draw(w.t, "clock error")
}

// sign lets a workload sign with any copy of the mounted Secret that a pod may still have.
func (w *world) sign() {
	copies := w.mount.within(w.now.Add(-lag))
	file := copies[rapid.IntRange(0, len(copies)-1).Draw(w.t, "copy")]
	if file == nil || w.dead[file.id] {
		return
	}
	w.tokens = append(w.tokens, signed{key: file.id, exp: w.now.Add(w.clockError() + file.lifetime)})
	if w.exempt[file.id] || w.symmetric(file.id) {
		return
	}
	for _, id := range w.unknownTo(file.id) {
		w.t.Fatalf("%s signed at %s, and %s did not know it", file.id, w.at(), id)
	}
}

// unknownTo names the copies of the JWKS that a verifier may hold now and that lack the key.
func (w *world) unknownTo(key string) []string {
	var lacking []string
	longest := 70 * time.Second // above every maxAge that a spec here can have
	for i := w.untold.sets; i < len(w.jwks.values); i++ {
		set := w.jwks.values[i]
		gone := w.now
		if i+1 < len(w.jwks.from) {
			gone = w.jwks.from[i+1]
		}
		if set != nil && w.now.Before(gone.Add(set.maxAge)) && !slices.Contains(set.ids, key) {
			lacking = append(lacking, fmt.Sprintf("a verifier with the ConfigMap of revision %d", set.revision))
		}
	}
	for i := w.untold.rings; i < len(w.ring.values); i++ {
		ring := w.ring.values[i]
		gone := w.now
		if i+1 < len(w.ring.from) {
			gone = w.ring.from[i+1].Add(drift) // a replica whose watch lags goes on serving it
		}
		if ring != nil && w.now.Sub(gone) < longest && w.now.Before(gone.Add(ring.MaxAge)) && ring.Key(key) == nil {
			lacking = append(lacking, fmt.Sprintf("a verifier with the JWKS of revision %d", ring.Revision))
		}
	}
	return lacking
}

func (w *world) symmetric(id string) bool {
	for _, ring := range w.ring.values {
		if ring != nil && ring.Key(id) != nil {
			return ring.Key(id).Symmetric()
		}
	}
	return false
}

func (w *world) changeSpec() {
	p := new(*w.policies.current())
	defer func() {
		p.Period = max(p.Period, p.MaxAge+skew+lag, p.MaxLifetime/20)
		w.policies.set(w.now, p)
	}()
	switch rapid.IntRange(0, 9).Draw(w.t, "change") {
	case 0:
		p.Algorithm = rapid.SampledFrom([]jose.SignatureAlgorithm{jose.ES256, jose.EdDSA, jose.HS256}).Draw(w.t, "algorithm")
	case 1:
		p.MaxAge = time.Duration(rapid.IntRange(1, 60).Draw(w.t, "maxAge")) * time.Second
	case 2:
		p.MaxLifetime = time.Duration(rapid.IntRange(10, 300).Draw(w.t, "maxLifetime")) * time.Second
	case 3:
		p.RotateRequest = fmt.Sprint(w.now)
	case 4:
		p.Export = !p.Export
	case 5:
		if ring := w.ring.current(); ring != nil {
			id := ring.Keys[rapid.IntRange(0, len(ring.Keys)-1).Draw(w.t, "compromised")].ID
			p.Revoked = append(slices.Clone(p.Revoked), id)
			w.kill(id)
		}
	case 6:
		if rapid.IntRange(0, 3).Draw(w.t, "delete the ring") == 0 && w.ring.current() != nil {
			for _, key := range w.ring.current().Keys {
				w.kill(key.ID)
			}
			w.ring.set(w.now, nil)
		}
	case 7:
		w.mount.set(w.now, nil) // somebody deletes the mounted Secret
	case 8:
		w.jwks.set(w.now, nil) // or the ConfigMap
	default:
		p.Period = time.Duration(rapid.IntRange(30, 300).Draw(w.t, "period")) * time.Second
	}
}

// kill takes a key out of what the judge asks about: its tokens are void, by intent or by a lost ring.
func (w *world) kill(id string) {
	w.dead[id] = true
	w.tokens = slices.DeleteFunc(w.tokens, func(token signed) bool { return token.key == id })
}

// judge asks whether any good token would be refused by a verifier that fetches the keys now.
func (w *world) judge() {
	ring, set := w.ring.current(), w.jwks.current()
	for _, token := range w.tokens {
		if ring == nil || w.dead[token.key] {
			continue
		}
		if ring.Key(token.key) == nil {
			w.t.Fatalf("at %s the webhook refuses a token of %s that expires %s", w.at(), token.key, token.exp.Sub(epoch))
		}
		if set != nil && !w.symmetric(token.key) && !slices.Contains(set.ids, token.key) {
			w.t.Fatalf("at %s the ConfigMap lacks %s, and a token of it expires %s", w.at(), token.key, token.exp.Sub(epoch))
		}
	}
}

// judgePlan checks what must hold of every single plan.
func (w *world) judgePlan(r *replica, decision Decision) {
	count := map[State]int{}
	for i := range decision.Ring.Keys {
		count[decision.Ring.Keys[i].State]++
	}
	if count[Active] != 1 || count[Next] != 1 {
		w.t.Fatalf("at %s a plan has %d Active and %d Next keys", w.at(), count[Active], count[Next])
	}
	if decision.Changed != (r.ring == nil || decision.Ring.Revision == r.ring.Revision+1) {
		w.t.Fatalf("at %s a plan goes from revision %v to %d, Changed=%v", w.at(), r.ring, decision.Ring.Revision, decision.Changed)
	}
	for _, id := range r.policy.Revoked {
		if decision.Ring.Key(id) != nil {
			w.t.Fatalf("at %s a plan keeps the revoked key %s", w.at(), id)
		}
	}
}

// settle lets every fault end and checks that both replicas come to rest on the same ring, and stay there.
func (w *world) settle() {
	policy := *w.policies.current()
	policy.Export = true
	w.policies.set(w.now, &policy)
	calm := func(r *replica) {
		for range 8 {
			w.refresh(r)
			decision, err := Plan(w.now, policy, r.ring, w.seen(r), w.generate)
			if err != nil {
				w.t.Fatal(err)
			}
			if decision.Changed {
				w.ring.set(w.now, decision.Ring)
				w.noteExceptions(decision.Ring)
			}
			w.jwks.set(w.now, rendered(decision.Ring))
			active := decision.Ring.Active()
			w.mount.set(w.now, &mounted{id: active.ID, lifetime: active.MaxLifetime, revision: decision.Ring.Revision})
		}
	}
	for range 6 {
		calm(&w.replicas[0])
		w.judge()
		w.pass(policy.Period + skew)
	}
	calm(&w.replicas[0])
	ring := w.ring.current()
	calm(&w.replicas[1])
	if w.ring.current() != ring {
		w.t.Fatalf("at %s the second replica does not rest where the first did", w.at())
	}
	if active := ring.Active(); active.Algorithm != policy.Algorithm || w.now.Sub(active.ActivatedAt) > policy.Period {
		w.t.Fatalf("at %s rotation has not caught up: %s since %s", w.at(), active.Algorithm, active.ActivatedAt.Sub(epoch))
	}
	if since, overdue := ring.Overdue(w.now, policy); overdue {
		w.t.Fatalf("at %s the rotation is overdue since %s", w.at(), since.Sub(epoch))
	}
}

func (w *world) at() time.Duration { return w.now.Sub(epoch) }
