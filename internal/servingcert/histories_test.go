package servingcert

import (
	"crypto/x509"
	"flag"
	"testing"
	"time"

	"pgregory.net/rapid"
)

const day = 24 * time.Hour

// longestOutage is how long the operator is away at most, or cannot write.
const longestOutage = 2 * day

// manyChecks lets rapid play so many histories, unless somebody asks for another number with -rapid.checks.
func manyChecks(t *testing.T, checks, short string) {
	t.Helper()
	if testing.Short() {
		checks = short
	}
	if f := flag.Lookup("rapid.checks"); f.Value.String() == f.DefValue {
		if err := flag.Set("rapid.checks", checks); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = flag.Set("rapid.checks", f.DefValue) })
	}
}

// replica serves what it has seen last, by a clock that may be off. One that is cut off sees nothing.
type replica struct {
	serving *Leaf
	clock   time.Duration
	hosts   Hosts
	cutOff  bool
}

// reader is a client with a copy of ca.crt.
type reader struct {
	pool   *x509.CertPool
	readAt time.Time
}

// history is what the Secrets hold, who serves, and who trusts what.
type history struct {
	t      *rapid.T
	now    time.Time
	policy Policy
	stored Bundle
	plannedAt,
	// calmAt is when the last fault has been got over: it is one at a time that clients must not notice.
	calmAt time.Time
	backups  []Bundle
	replicas [3]replica
	clients  [2]reader

	// accepted is what judge has found out already.
	accepted map[judged]bool

	leaves, authorities, faults int
}

// judged is a certificate and what a client has read.
type judged struct {
	leaf *Leaf
	pool *x509.CertPool
}

var hostSets = []Hosts{{"keyturn.example"}, {"10.1.2.3", "keyturn.example"}, {"keyturn.example", "other.example"}}

// TestHistories plays years of operation: rotations, replicas whose clocks are off, that lag, that want other hosts
// and that lose races or crash between two writes, and Secrets that are lost, damaged or replaced by old copies, one
// at a time. A client that reads ca.crt as often as Policy.Overlap says accepts every replica at every moment, also
// one that is cut off from the API server, until its certificate expires.
func TestHistories(t *testing.T) {
	manyChecks(t, "60", "20")
	var total history
	histories := 0
	rapid.Check(t, func(t *rapid.T) {
		h := &history{t: t, now: noon, policy: DefaultPolicy, accepted: map[judged]bool{}}
		// An authority that lasts as long as in earnest would make every history the same.
		h.policy.AuthorityLifetime = time.Duration(rapid.IntRange(350, 700).Draw(t, "authority")) * day
		for i := range h.replicas {
			h.replicas[i].hosts = hostSets[0]
		}
		h.reconcile(&h.replicas[0])
		for i := range h.clients {
			h.read(&h.clients[i])
		}
		for range rapid.IntRange(40, 100).Draw(t, "steps") {
			h.step()
			h.judge()
		}
		histories++
		total.leaves += h.leaves
		total.authorities += h.authorities
		total.faults += h.faults
	})
	t.Logf("%d histories, %d serving certificates, %d authorities, %d faults",
		histories, total.leaves, total.authorities, total.faults)
	if total.leaves < 5*histories || total.authorities < 2*histories || total.faults < histories {
		t.Error("the histories were too tame to prove anything")
	}
}

func (h *history) step() {
	r := &h.replicas[rapid.IntRange(0, 2).Draw(h.t, "replica")]
	switch rapid.IntRange(0, 11).Draw(h.t, "event") {
	case 0, 1:
		h.reconcile(r)
	case 2, 3, 4:
		h.pass(time.Duration(rapid.IntRange(1, 20*24).Draw(h.t, "hours")) * time.Hour)
	case 5, 6:
		decision := h.plan(&h.replicas[0], h.stored)
		h.pass(decision.Wake.Sub(h.now))
	case 7:
		if r.cutOff = !r.cutOff && r != &h.replicas[0]; !r.cutOff {
			r.serving = h.stored.Leaf
		}
	case 8:
		r.hosts = rapid.SampledFrom(hostSets).Draw(h.t, "hosts")
	case 9:
		r.clock = rapid.SampledFrom([]time.Duration{0, h.policy.ClockSkew / 2, -h.policy.ClockSkew / 2}).Draw(h.t, "clock")
	default:
		h.fault()
	}
}

func (h *history) plan(r *replica, bundle Bundle) Decision {
	decision, err := Plan(h.now.Add(r.clock), r.hosts, h.policy, bundle)
	if err != nil {
		h.t.Fatal(err)
	}
	return decision
}

// reconcile reads, plans and writes as a Keeper does, until nothing is left to write.
func (h *history) reconcile(r *replica) {
	for range passRounds {
		decision := h.plan(r, h.stored)
		if !decision.Changed() {
			h.judgeWake(r, decision)
			h.settle()
			return
		}
		lost := rapid.IntRange(0, 9).Draw(h.t, "lost race") == 0
		if lost {
			// Another replica has come in between, and has written the same in its own way.
			other := h.plan(&h.replicas[(rapid.IntRange(0, 2).Draw(h.t, "winner"))], h.stored)
			h.write(other, false)
			continue
		}
		h.write(decision, rapid.IntRange(0, 9).Draw(h.t, "crash") == 0)
	}
	h.t.Fatalf("at %s the Secrets do not settle", h.now)
}

// write puts a decision into the Secrets, or only the first of them.
func (h *history) write(decision Decision, crash bool) {
	if len(decision.AuthorityChanges) > 0 {
		h.authorities += max(0, len(decision.Bundle.Authorities)-len(h.stored.Authorities))
		h.stored.Authorities = decision.Bundle.Authorities
	}
	if crash {
		return
	}
	if decision.LeafChange != "" {
		h.leaves++
	}
	if decision.ServingChanged {
		h.stored.Leaf, h.stored.Trusted = decision.Bundle.Leaf, decision.Bundle.Trusted
	}
}

// settle lets every replica see what has been written, but those that are cut off.
func (h *history) settle() {
	h.plannedAt = h.now
	for i := range h.replicas {
		if r := &h.replicas[i]; !r.cutOff {
			r.serving = h.stored.Leaf
		}
	}
	if rapid.IntRange(0, 3).Draw(h.t, "back up") == 0 {
		h.backups = append(h.backups, h.stored)
	}
}

// judgeWake checks that nothing is to be done before the time to wake.
func (h *history) judgeWake(r *replica, decision Decision) {
	now := h.now.Add(r.clock)
	if !decision.Wake.After(now) {
		h.t.Fatalf("at %s a plan wakes at once: %s", now, decision.Wake)
	}
	seconds := int(decision.Wake.Sub(now) / time.Second)
	early := now.Add(time.Duration(rapid.IntRange(0, max(0, seconds-2)).Draw(h.t, "early")) * time.Second)
	again, err := Plan(early, r.hosts, h.policy, h.stored)
	if err != nil || again.Changed() {
		h.t.Fatalf("at %s nothing is to be done before %s, but at %s %q %q changes (error %v)",
			now, decision.Wake, early, again.AuthorityChanges, again.LeafChange, err)
	}
}

// pass lets time go on. The operator and the clients get to do what they have to in time.
func (h *history) pass(d time.Duration) {
	for end := h.now.Add(d); h.now.Before(end); {
		h.now = h.now.Add(min(end.Sub(h.now), time.Duration(rapid.IntRange(12, 48).Draw(h.t, "stride"))*time.Hour))
		if h.now.Sub(h.plannedAt) >= longestOutage-48*time.Hour/2 {
			h.reconcile(&h.replicas[0])
		}
		for i := range h.clients {
			if h.now.Sub(h.clients[i].readAt) >= h.policy.Overlap-2*day {
				h.read(&h.clients[i])
			}
		}
		h.judge()
	}
}

func (h *history) read(c *reader) {
	c.pool, c.readAt = x509.NewCertPool(), h.now
	for _, certificate := range h.stored.Trusted {
		c.pool.AddCert(certificate)
	}
}

// fault loses, damages or brings back something, and the operator sees it before the next client does. The next fault
// comes when the last is over.
func (h *history) fault() {
	if h.now.Before(h.calmAt) {
		return
	}
	h.faults++
	backup := h.stored
	if len(h.backups) > 0 {
		backup = rapid.SampledFrom(h.backups).Draw(h.t, "backup")
	}
	switch rapid.IntRange(0, 4).Draw(h.t, "fault") {
	case 0:
		h.stored.Authorities = nil
	case 1:
		h.stored.Leaf = nil
	case 2:
		h.stored.Leaf, h.stored.Trusted = nil, nil
	case 3:
		h.stored.Authorities = backup.Authorities
	default:
		h.stored.Leaf, h.stored.Trusted = backup.Leaf, backup.Trusted
	}
	h.reconcile(&h.replicas[0])
	h.calmAt = h.now.Add(h.policy.LeafLifetime)
}

// judge asks every client about every replica.
func (h *history) judge() {
	for i := range h.replicas {
		r := &h.replicas[i]
		if r.cutOff && !r.serving.validAt(h.now) {
			continue
		}
		for c := range h.clients {
			if err := h.accept(r.serving, h.clients[c].pool); err != nil {
				h.t.Fatalf("at %s client %d, who read ca.crt at %s, does not accept %v of replica %d: %v",
					h.now, c, h.clients[c].readAt, r.serving, i, err)
			}
		}
	}
}

// accept returns an error unless a client who trusts these certificates accepts the leaf now, and until the leaf
// expires.
func (h *history) accept(leaf *Leaf, pool *x509.CertPool) error {
	key := judged{leaf, pool}
	if h.accepted[key] && leaf.validAt(h.now) {
		return nil
	}
	for _, at := range []time.Time{h.now, leaf.Certificate().NotAfter} {
		_, err := leaf.Certificate().Verify(x509.VerifyOptions{Roots: pool, CurrentTime: at, DNSName: "keyturn.example"})
		if err != nil {
			return err
		}
	}
	h.accepted[key] = true
	return nil
}
