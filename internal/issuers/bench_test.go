package issuers

import (
	"fmt"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/keyturn/keyturn/api/v1alpha1"
	"github.com/keyturn/keyturn/internal/keyring"
	"github.com/keyturn/keyturn/internal/revocation"
)

// BenchmarkExpiry is the step that is taken each minute: with a hundred sessions that are due, among few and many ended
// ones. What it takes for each must not depend on how many there are.
func BenchmarkExpiry(b *testing.B) {
	const due = 100
	for _, known := range []int{1000, 100_000} {
		b.Run(fmt.Sprintf("known=%d", known), func(b *testing.B) {
			clock := clocktesting.NewFakeClock(epoch)
			s := NewEndedSessions(NewRegistry(), EndedSessionsOptions{Clock: clock})
			watch := &sessionsOf{EndedSessions: s}
			leave := func(at time.Time, name string) {
				clock.SetTime(at)
				if err := watch.Delete(endedSessionOf("shop", name)); err != nil {
					b.Fatal(err)
				}
			}
			// Half of the others exist, and half are gone, which are not due.
			for i := range known / 2 {
				if err := watch.Add(endedSessionOf("shop", fmt.Sprint("ended-", i))); err != nil {
					b.Fatal(err)
				}
				leave(epoch.Add(time.Hour+time.Duration(i)), fmt.Sprint("gone-", i))
			}
			for b.Loop() {
				b.StopTimer()
				for i := range due {
					leave(epoch, fmt.Sprint("due-", i))
				}
				clock.SetTime(epoch.Add(unknownOutlive))
				b.StartTimer()
				s.forget()
			}
			if got := s.entries(); got != known {
				b.Errorf("%d sessions are kept, want %d", got, known)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*due), "ns/due-session")
		})
	}
}

// BenchmarkFeed is what one event takes with a hundred thousand rules: among few and many issuers, which must make no
// difference.
func BenchmarkFeed(b *testing.B) {
	const rules = 100_000
	for _, count := range []int{10, 1000} {
		r := NewRegistry()
		name := func(i int) string { return fmt.Sprint("issuer-", i) }
		of := func(i int) types.NamespacedName {
			return types.NamespacedName{Namespace: "default", Name: name(i % count)}
		}
		rule := func(i int) revocation.Rule {
			return revocation.Rule{ID: fmt.Sprint(i), Kind: revocation.Subject, Value: fmt.Sprint("subject-", i), IssuedBefore: epoch}
		}
		var rings [2]*keyring.Ring
		issuers := make([]*v1alpha1.TokenIssuer, count)
		for i := range issuers {
			issuers[i] = newIssuer(name(i), "https://"+name(i)+".example", 0)
			if i < len(rings) {
				rings[i] = newRing(b, issuers[i])
			}
			add(b, r, issuers[i], rings[0])
		}
		for i := range rules {
			r.putRule(of(i), rule(i))
		}
		r.markSynced()
		each := func(event string, apply func(i int) error) {
			b.Run(fmt.Sprintf("%s/issuers=%d", event, count), func(b *testing.B) {
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					if err := apply(i); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
		each("rotation", func(i int) error { return r.setRing(of(i), rings[(i/count+1)%len(rings)]) })
		each("status", func(i int) error { return r.setIssuer(issuers[i%count], func(*entry) {}) })
		each("revocation", func(i int) error {
			r.putRule(of(i), rule(rules+i))
			r.deleteRule(of(i), rule(rules+i))
			return nil
		})
	}
}
