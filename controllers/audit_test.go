package controllers

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keyturn/keyturn/api/v1alpha1"
	"github.com/keyturn/keyturn/internal/keyring"
)

// lines are those of an audit log, in order.
type lines struct {
	mu   sync.Mutex
	text []string
}

func (l *lines) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, string(line))
	return len(line), nil
}

// take returns the lines since it was last called, without their time and what is the same in all of them.
func (l *lines) take(issuer *v1alpha1.TokenIssuer) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var taken []string
	same := fmt.Sprintf(`,"issuer":%q,"iss":%q`, issuer.Namespace+"/"+issuer.Name, issuer.Spec.IssuerURL)
	for _, line := range l.text {
		line = regexp.MustCompile(`^{"time":"[0-9TZ:.-]+",`).ReplaceAllString(strings.TrimSuffix(line, "}\n"), "")
		taken = append(taken, strings.Replace(line, same, "", 1))
	}
	l.text = nil
	return taken
}

func (w *world) wantAudited(issuer *v1alpha1.TokenIssuer, want ...string) {
	w.Helper()
	if got := w.audited.take(issuer); !slices.Equal(got, want) {
		w.Errorf("the audit log tells\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// Every step in the life of a signing key is one line, told once.
func TestLifeOfKeyIsAudited(t *testing.T) {
	w := newWorld(t)
	issuer := w.settled("shop")
	ring := w.ring("shop")
	first, second := ring.Active().ID, ring.Next().ID
	line := func(kind, id, reason string) string {
		return fmt.Sprintf(`"audit":%q,"kid":%q,"reason":%q`, kind, id, reason)
	}
	w.wantAudited(issuer,
		line("key_created", first, "a new ES256 key"), line("key_activated", first, "it is the first key of the issuer"),
		line("key_created", second, "a new ES256 key"))

	w.clock.Step(period)
	w.reconcile("shop")
	third := w.ring("shop").Next().ID
	const scheduled = "the rotation period of 720h0m0s is over"
	w.wantAudited(issuer, line("key_retired", first, scheduled), line("key_activated", second, scheduled),
		line("key_created", third, "a new ES256 key"))

	w.clock.Step(propagation + lifetime + skew)
	w.reconcile("shop")
	w.wantAudited(issuer, line("key_removed", first, "the last token that it can have signed has expired"))

	w.revoke("leak", "shop", key(third))
	w.reconcile("shop")
	w.wantAudited(issuer, line("key_revoked", third, "the Next key was revoked"),
		line("key_created", w.ring("shop").Next().ID, "a new ES256 key"))
	w.reconcile("shop")
	w.wantAudited(issuer)
}

func TestLifeOfRefreshKeyIsAudited(t *testing.T) {
	w := newWorld(t)
	edits := []func(*v1alpha1.TokenIssuer){sessions, func(i *v1alpha1.TokenIssuer) {
		i.Spec.Signing.Rotation.Period = duration(87600 * time.Hour) // the ring rests
	}}
	issuer := w.settled("shop", edits...)
	line := func(kind, id, reason string) string {
		return fmt.Sprintf(`"audit":%q,"kid":%q,"reason":%q`, kind, id, reason)
	}
	first := w.newestRefreshKey("shop")
	if got := w.audited.take(issuer); len(got) != 4 || got[3] != line("refresh_key_created", first, "a new key") {
		t.Errorf("the audit log tells %q", got)
	}
	w.clock.Step(keyPeriod)
	w.reconcile("shop")
	second := w.newestRefreshKey("shop")
	w.wantAudited(issuer, line("refresh_key_created", second, "a new key"))
	w.clock.SetTime(w.issuer("shop").Status.RefreshKeys[0].RemoveAfter.Add(time.Second))
	w.reconcile("shop")
	w.wantAudited(issuer, line("refresh_key_removed", first, "the last session that it can have opened has expired"))

	w.revoke("leak", "shop", key(second))
	w.reconcile("shop")
	third := w.newestRefreshKey("shop")
	w.wantAudited(issuer,
		line("refresh_key_revoked", second, "it was revoked, and every session that it has opened has to log in again"),
		line("refresh_key_created", third, "a new key"))

	w.remove(w.refreshSecret("shop"))
	w.reconcile("shop")
	w.wantAudited(issuer, line("refresh_key_created", w.newestRefreshKey("shop"),
		"a new key, because the Secret shop-refresh-keys had vanished"))
}

// A revocation is one line, when it comes into force, however often it is looked at and by whichever replica.
func TestRevocationIsAuditedOnce(t *testing.T) {
	tests := map[string]func(*v1alpha1.TokenRevocationSpec){
		`"sub":"alice","object":"r","target":"subject=alice"`:           func(s *v1alpha1.TokenRevocationSpec) { s.Subject = "alice" },
		`"client_id":"web","object":"r","target":"clientID=web"`:        func(s *v1alpha1.TokenRevocationSpec) { s.ClientID = "web" },
		`"sid":"s-1","object":"r","target":"sessionID=s-1"`:             func(s *v1alpha1.TokenRevocationSpec) { s.SessionID = "s-1" },
		`"object":"r","target":"tokenID=t-1"`:                           func(s *v1alpha1.TokenRevocationSpec) { s.TokenID = "t-1" },
		`"object":"r","target":"audience=api"`:                          func(s *v1alpha1.TokenRevocationSpec) { s.Audience = "api" },
		`"object":"r","target":"all"`:                                   func(s *v1alpha1.TokenRevocationSpec) { s.All = ptr.To(true) },
		`"kid":"no-such-key","object":"r","target":"keyID=no-such-key"`: key("no-such-key"),
	}
	w := newWorld(t)
	issuer := w.settled("shop")
	first := w.replica()
	first.heard("shop")
	second := w.replica()
	second.heard("shop")
	w.audited.take(issuer)
	for _, want := range slices.Sorted(maps.Keys(tests)) {
		t.Run(want, func(*testing.T) {
			revocation := w.revoke("r", "shop", tests[want], func(s *v1alpha1.TokenRevocationSpec) { s.Reason = "has left" })
			first.assessed(revocation)
			w.wantAudited(issuer, `"audit":"revocation",`+want+`,"reason":"has left"`)
			first.assessed(revocation)
			second.assessed(revocation)
			edit(w, revocation, func(r *v1alpha1.TokenRevocation) { r.Spec.RetainAfterExpiry = true })
			second.assessed(revocation)
			w.wantAudited(issuer)
			w.remove(revocation)
		})
	}
}

// Nothing is told before it is so: while the key is in the ring, while there is no issuer, or while the status cannot be
// written and would have to be told again.
func TestRevocationThatIsNotEnforcedIsNotAudited(t *testing.T) {
	w := newWorld(t)
	r := w.replica()
	early := w.revoke("early", "shop", all)
	w.clock.SetTime(early.CreationTimestamp.Time) // what is signed from now on is good
	r.assessed(early)
	issuer := w.settled("shop")
	r.heard("shop")
	leak := w.revoke("leak", "shop", key(first(w.ring("shop"), keyring.Active).ID))
	w.audited.take(issuer)
	r.assessed(leak)
	w.wantAudited(issuer)

	broken := interceptWrites(withFields(w.WithWatch), func(string, client.Object, func() error) error { return errStopped })
	if _, err := r.assessWith(broken, "early"); err == nil {
		t.Error("no error, want that of the status")
	}
	w.wantAudited(issuer)
	r.assessed(early)
	w.wantAudited(issuer, `"audit":"revocation","object":"early","target":"all"`)
}
