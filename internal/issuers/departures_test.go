package issuers

import (
	"fmt"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"
	"pgregory.net/rapid"

	"github.com/keyturn/keyturn/api/v1alpha1"
	"github.com/keyturn/keyturn/internal/session"
)

// endedSessionOf is the metadata of an ended session of an issuer in the namespace default.
func endedSessionOf(issuer, name string) *metav1.PartialObjectMetadata {
	return &metav1.PartialObjectMetadata{TypeMeta: metadataOfSession, ObjectMeta: metav1.ObjectMeta{
		Namespace: "default", Name: name, Labels: map[string]string{v1alpha1.LabelIssuer: issuer, v1alpha1.LabelEnded: "Logout"},
	}}
}

// What is gone is forgotten when it is due, and neither earlier nor later, however often it came back before.
func TestForgettingAgreesWithANaiveScan(t *testing.T) {
	shop := newIssuer("shop", "https://shop.example", 0)
	ring := newRing(t, shop)
	outlive := map[string]time.Duration{
		"shop": defaultMaxLifetime + 30*time.Second + 2*session.DefaultClockError, "unknown": unknownOutlive,
	}
	rapid.Check(t, func(t *rapid.T) {
		registry, clock := NewRegistry(), clocktesting.NewFakeClock(epoch)
		must(t, registry.setIssuer(shop, func(*entry) {}))
		must(t, registry.setRing(nameOf(shop), ring))
		registry.markSynced()
		s := NewEndedSessions(registry, EndedSessionsOptions{Clock: clock})
		watch := &sessionsOf{EndedSessions: s}
		model := map[[2]string]time.Time{} // until, by issuer and name; zero while it exists
		sessions := rapid.Custom(func(t *rapid.T) [2]string {
			issuer := rapid.SampledFrom([]string{"shop", "unknown"}).Draw(t, "issuer")
			return [2]string{issuer, issuer + rapid.StringMatching(`[0-5]`).Draw(t, "name")}
		})
		t.Repeat(map[string]func(*rapid.T){
			"end": func(t *rapid.T) {
				of := sessions.Draw(t, "session")
				_ = watch.Add(endedSessionOf(of[0], of[1]))
				model[of] = time.Time{}
			},
			"delete": func(t *rapid.T) {
				of := sessions.Draw(t, "session")
				_ = watch.Delete(endedSessionOf(of[0], of[1]))
				model[of] = clock.Now().Add(outlive[of[0]])
			},
			"forget": func(t *rapid.T) {
				clock.Step(rapid.SampledFrom([]time.Duration{0, forgetPeriod, outlive["shop"], outlive["unknown"]}).Draw(t, "later"))
				s.forget()
				for of, until := range model {
					if !until.IsZero() && !clock.Now().Before(until) {
						delete(model, of)
					}
				}
			},
			"": func(t *rapid.T) {
				for i := range 12 {
					issuer := []string{"shop", "unknown"}[i%2]
					of := [2]string{issuer, fmt.Sprint(issuer, i/2)}
					_, want := model[of]
					if got := deniedBy(registry, types.NamespacedName{Namespace: "default", Name: of[0]}, of[1]); got != want {
						t.Fatalf("%v: denied: %t, want %t", of, got, want)
					}
				}
				if got := s.entries(); got != len(model) {
					t.Fatalf("%d sessions are kept, want %d", got, len(model))
				}
			},
		})
	})
}

// All that is due goes at once, also when it is more than a batch, and what was only denied by this replica goes with it.
func TestForgettingManySessions(t *testing.T) {
	const count = 2*forgetBatch + 1
	clock := clocktesting.NewFakeClock(epoch)
	s := NewEndedSessions(NewRegistry(), EndedSessionsOptions{Clock: clock})
	watch := &sessionsOf{EndedSessions: s}
	for i := range count {
		if err := watch.Delete(endedSessionOf("shop", fmt.Sprint("gone-", i))); err != nil {
			t.Fatal(err)
		}
		s.registry.DenySession(types.NamespacedName{Namespace: "default", Name: "shop"}, fmt.Sprint("denied-", i))
	}
	if err := watch.Add(endedSessionOf("shop", "stays")); err != nil {
		t.Fatal(err)
	}
	s.forget()
	if got, want := s.entries(), 2*count+1; got != want {
		t.Fatalf("%d sessions are kept, want %d", got, want)
	}
	clock.Step(unknownOutlive)
	s.forget()
	if got := s.entries(); got != 1 || len(s.gone) != 0 {
		t.Errorf("%d sessions and %d departures are kept, want the one session that exists", got, len(s.gone))
	}
	shop := s.registry.entries[types.NamespacedName{Namespace: "default", Name: "shop"}]
	if got := shop.rules.Len(); got != 1 {
		t.Errorf("%d rules are left, want that of the session that exists", got)
	}
}
