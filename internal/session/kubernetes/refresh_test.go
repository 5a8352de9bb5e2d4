package kubernetes_test

import (
	"context"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	testclock "k8s.io/utils/clock/testing"

	"github.com/keyturn/keyturn/internal/session"
	"github.com/keyturn/keyturn/internal/session/kubernetes"
	"github.com/keyturn/keyturn/internal/session/storetest"
)

// shop is an issuer whose sessions are in the test's API server.
type shop struct {
	issuer   *session.Issuer
	clock    *testclock.FakePassiveClock
	manager  *session.Manager
	store    *kubernetes.Store
	requests *requests
}

func newShop(t testing.TB) *shop {
	t.Helper()
	policy := session.DefaultPolicy()
	policy.Audiences, policy.Scopes = []string{"shop-api"}, []string{"orders:read"}
	keys, err := session.PlanKeys(storetest.Noon, session.KeyPolicy{
		ClockSkew: 30 * time.Second, AbsoluteLifetime: policy.AbsoluteLifetime,
	}, nil, rand.NewChaCha8([32]byte{7}))
	if err != nil {
		t.Fatal(err)
	}
	c, requests := newClient(t)
	s := &shop{clock: testclock.NewFakePassiveClock(storetest.Noon), store: kubernetes.New(c), requests: requests}
	s.issuer = &session.Issuer{
		Reference: session.IssuerReference{Namespace: newNamespace(t, c), Name: "tokens"},
		URL:       "https://tokens.example.com/shop", Keys: keys.Keys, Policy: policy,
	}
	s.manager = session.NewManager(s.store, s.clock, nil)
	return s
}

func (s *shop) open(t testing.TB) session.Opened {
	t.Helper()
	opened, err := s.manager.Open(context.Background(), s.issuer, session.Login{
		Subject: "alice", ClientID: "web", Scopes: []string{"orders:read"}, Audiences: []string{"shop-api"},
		Claims: `{"groups":["staff"]}`, Source: session.SourceWorkload,
	})
	if err != nil {
		t.Fatal(err)
	}
	s.requests.take()
	return opened
}

func (s *shop) refresh(t testing.TB, token string) session.Result {
	t.Helper()
	result, err := s.manager.Refresh(context.Background(), s.issuer, session.Request{Token: token})
	if err != nil {
		t.Fatal(err)
	}
	return result
}

// What each outcome costs the API server.
func TestRequestsOfARefresh(t *testing.T) {
	s := newShop(t)
	first := s.open(t).RefreshToken.Reveal()
	var second string
	for _, step := range []struct {
		name, token string
		reason      session.Reason
		requests    string
		before      time.Duration
	}{
		{"a rotation", first, session.Rotated, "GET PATCH", time.Minute},
		{"a repetition", first, session.Repeated, "GET", time.Second},
		{"a forgery", first[:len(first)-1] + otherLast(first), session.TagInvalid, "", 0},
		{"no token", "ktr1_", session.Malformed, "", 0},
		{"reuse", first, session.Reused, "GET PATCH", time.Minute},
		{"after the end", first, session.Ended, "GET", 0},
	} {
		s.clock.SetTime(s.clock.Now().Add(step.before))
		result := s.refresh(t, step.token)
		if result.Reason != step.reason {
			t.Errorf("%s: %s, want %s", step.name, result.Reason, step.reason)
		}
		if got := s.requests.take(); got != step.requests {
			t.Errorf("%s sends %q, want %q", step.name, got, step.requests)
		}
		if result.Reason.Granted() {
			successor := result.RefreshToken.Reveal()
			if second != "" && second != successor {
				t.Errorf("%s answers with another successor", step.name)
			}
			second = successor
		}
	}
}

// otherLast is a last character of a token that is well formed, and not that of this one.
func otherLast(token string) string {
	if strings.HasSuffix(token, "A") {
		return "Q"
	}
	return "A"
}

// A page with a hundred tabs: each presents the same token at the same moment.
func TestParallelRefreshesOfOneToken(t *testing.T) {
	s := newShop(t)
	opened := s.open(t)
	token := opened.RefreshToken.Reveal()
	const tabs = 100
	successors, reasons := make([]string, tabs), make([]session.Reason, tabs)
	var refreshing sync.WaitGroup
	for i := range tabs {
		refreshing.Go(func() {
			result, err := s.manager.Refresh(t.Context(), s.issuer, session.Request{Token: token})
			if err != nil {
				t.Errorf("tab %d: %v", i, err)
				return
			}
			successors[i], reasons[i] = result.RefreshToken.Reveal(), result.Reason
		})
	}
	refreshing.Wait()
	rotated := 0
	for i := range tabs {
		if successors[i] != successors[0] || successors[i] == "" {
			t.Errorf("tab %d has another successor", i)
		}
		if reasons[i] == session.Rotated {
			rotated++
		}
	}
	reads, writes := s.requests.count(http.MethodGet), s.requests.count(http.MethodPatch)
	stored, err := s.store.Get(t.Context(), s.issuer.Reference, opened.Session.ID)
	if err != nil {
		t.Fatal(err)
	}
	if stored.Generation != 1 || rotated != 1 {
		t.Errorf("%d tabs were told that they rotated, and the generation is %d; want 1 and 1", rotated, stored.Generation)
	}
	t.Logf("%d reads and %d attempts to write, of which 1 succeeded", reads, writes)
}
