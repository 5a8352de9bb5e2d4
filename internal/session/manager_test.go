package session_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	testclock "k8s.io/utils/clock/testing"

	"github.com/keyturn/keyturn/internal/session"
	"github.com/keyturn/keyturn/internal/session/memory"
)

const day = 24 * time.Hour

// noon is the login of every session here.
var noon = time.Date(2026, 3, 1, 12, 0, 0, 250_000_000, time.UTC)

// shop is an issuer and all that its sessions need.
type shop struct {
	issuer  *session.Issuer
	clock   *testclock.FakePassiveClock
	store   *counting
	manager *session.Manager
	// removed are subjects that may not log in any more.
	removed map[string]bool
	// recheckFails is what the recheck answers if it is not nil.
	recheckFails error
}

func newShop(t testing.TB) *shop {
	t.Helper()
	policy := session.DefaultPolicy()
	policy.Audiences, policy.Scopes = []string{"shop-api", "mail-api"}, []string{"orders:read", "orders:write"}
	w := &shop{
		issuer: &session.Issuer{
			Reference: session.IssuerReference{Namespace: "shop", Name: "tokens"},
			URL:       "https://tokens.example.com/shop", Keys: newKeys(t, noon), Policy: policy,
		},
		clock: testclock.NewFakePassiveClock(noon), store: &counting{Store: memory.New()}, removed: map[string]bool{},
	}
	w.manager = session.NewManager(w.store, w.clock, func(_ context.Context, s *session.Session) (session.EndReason, error) {
		if w.removed[s.Subject] {
			return session.EndLoginRemoved, w.recheckFails
		}
		return "", w.recheckFails
	})
	return w
}

func newKeys(t testing.TB, now time.Time) *session.Keys {
	t.Helper()
	policy := session.KeyPolicy{ClockSkew: 30 * time.Second, AbsoluteLifetime: session.DefaultAbsoluteLifetime}
	decision, err := session.PlanKeys(now, policy, nil, rand.NewChaCha8([32]byte{7}))
	if err != nil {
		t.Fatal(err)
	}
	return decision.Keys
}

func goodLogin() session.Login {
	return session.Login{
		Subject: "alice", ClientID: "web", Scopes: []string{"orders:read"}, Audiences: []string{"shop-api"},
		Claims: `{"groups":["staff"]}`, Source: session.SourceWorkload,
	}
}

func (w *shop) open(t testing.TB, login session.Login) session.Opened {
	t.Helper()
	opened, err := w.manager.Open(context.Background(), w.issuer, login)
	if err != nil {
		t.Fatalf("Open(): %v", err)
	}
	return opened
}

// refresh presents a token and expects the reason.
func (w *shop) refresh(t testing.TB, token session.RefreshToken, want session.Reason) session.Result {
	t.Helper()
	result, err := w.manager.Refresh(context.Background(), w.issuer, session.Request{Token: token.Reveal()})
	if err != nil || result.Reason != want {
		t.Fatalf("Refresh() = %s, %v; want %s", result.Reason, err, want)
	}
	return result
}

func (w *shop) pass(d time.Duration) { w.clock.SetTime(w.clock.Now().Add(d)) }

// counting counts the operations of a store, and can put something before each.
type counting struct {
	session.Store
	reads, writes, conflicts, others atomic.Int64
	beforeSwap                       func()
	fails                            error
}

func (c *counting) Create(ctx context.Context, s *session.Session) (*session.Session, error) {
	c.others.Add(1)
	return c.Store.Create(ctx, s)
}

func (c *counting) Get(ctx context.Context, issuer session.IssuerReference, id session.ID) (*session.Session, error) {
	c.reads.Add(1)
	if c.fails != nil {
		return nil, c.fails
	}
	return c.Store.Get(ctx, issuer, id)
}

func (c *counting) CompareAndSwap(ctx context.Context, s *session.Session, next session.State) (*session.Session, error) {
	if c.beforeSwap != nil {
		c.beforeSwap()
	}
	written, err := c.Store.CompareAndSwap(ctx, s, next)
	if err == nil {
		c.writes.Add(1)
	} else if errors.Is(err, session.ErrConflict) {
		c.conflicts.Add(1)
	}
	return written, err
}

func (c *counting) End(ctx context.Context, issuer session.IssuerReference, id session.ID, at time.Time, reason session.EndReason) (*session.Session, error) {
	c.others.Add(1)
	return c.Store.End(ctx, issuer, id, at, reason)
}

// operations returns how many operations there were since the last call.
func (c *counting) operations() int64 {
	return c.reads.Swap(0) + c.writes.Swap(0) + c.conflicts.Swap(0) + c.others.Swap(0)
}

func TestOpen(t *testing.T) {
	w := newShop(t)
	login := goodLogin()
	login.Scopes = []string{"orders:write", "orders:read", "orders:write"}
	opened := w.open(t, login)
	s := opened.Session
	if !slices.Equal(s.Scopes, []string{"orders:read", "orders:write"}) || s.Generation != 0 || s.Issuer != w.issuer.Reference ||
		s.IssuerURL != w.issuer.URL || s.Subject != "alice" || s.ClientID != "web" || s.Source != session.SourceWorkload {
		t.Errorf("the session is %+v", s)
	}
	wantCreated := noon.Truncate(time.Second)
	if !s.CreatedAt.Equal(wantCreated) || !s.ExpiresAt.Equal(wantCreated.Add(14*day)) || !s.RotatedAt.Equal(noon) || !s.IdleUntil.Equal(noon.Add(3*day)) {
		t.Errorf("its times are %s to %s, refreshed %s, idle until %s", s.CreatedAt, s.ExpiresAt, s.RotatedAt, s.IdleUntil)
	}
	if !s.ID.ExpiryDay().Equal(s.ExpiresAt.Truncate(day)) {
		t.Errorf("its id is of the day %s, and it expires %s", s.ID.ExpiryDay(), s.ExpiresAt)
	}
	result := w.refresh(t, opened.RefreshToken, session.Rotated)
	if !slices.Equal(result.Audiences, []string{"shop-api"}) || !slices.Equal(result.Scopes, s.Scopes) || result.Session.Generation != 1 {
		t.Errorf("the refresh is %+v", result)
	}
}

// No session may outlast its key, also when the policy allows more than the key was written with.
func TestOpenWithinTheKey(t *testing.T) {
	w := newShop(t)
	w.issuer.Policy.AbsoluteLifetime = 100 * day
	if s := w.open(t, goodLogin()).Session; !s.ExpiresAt.Equal(s.CreatedAt.Add(session.DefaultAbsoluteLifetime)) {
		t.Errorf("the session lasts %s, and its key is kept for sessions of %s", s.ExpiresAt.Sub(s.CreatedAt), session.DefaultAbsoluteLifetime)
	}
}

func TestOpenRefuses(t *testing.T) {
	many := make([]string, 65)
	for i := range many {
		many[i] = "orders:read"
	}
	for name, test := range map[string]struct {
		edit func(*session.Login)
		want error
	}{
		"no subject":                {func(l *session.Login) { l.Subject = "" }, session.ErrBadLogin},
		"a long subject":            {func(l *session.Login) { l.Subject = strings.Repeat("a", 257) }, session.ErrBadLogin},
		"a subject with a break":    {func(l *session.Login) { l.Subject = "alice\nroot" }, session.ErrBadLogin},
		"a subject with a NUL":      {func(l *session.Login) { l.Subject = "alice\x00" }, session.ErrBadLogin},
		"a subject that is no text": {func(l *session.Login) { l.Subject = "\xff" }, session.ErrBadLogin},
		"no client":                 {func(l *session.Login) { l.ClientID = "" }, session.ErrBadLogin},
		"a long client":             {func(l *session.Login) { l.ClientID = strings.Repeat("a", 257) }, session.ErrBadLogin},
		"no source":                 {func(l *session.Login) { l.Source = "" }, session.ErrBadLogin},
		"no audience":               {func(l *session.Login) { l.Audiences = nil }, session.ErrBadLogin},
		"33 audiences":              {func(l *session.Login) { l.Audiences = many[:33] }, session.ErrBadLogin},
		"65 scopes":                 {func(l *session.Login) { l.Scopes = many }, session.ErrBadLogin},
		"another audience":          {func(l *session.Login) { l.Audiences = []string{"shop-api", "vault"} }, session.ErrAudience},
		"another scope":             {func(l *session.Login) { l.Scopes = []string{"orders:read", "admin"} }, session.ErrScope},
		"claims that are a list":    {func(l *session.Login) { l.Claims = "[]" }, session.ErrBadLogin},
		"claims that are null":      {func(l *session.Login) { l.Claims = "null" }, session.ErrBadLogin},
		"claims that are no JSON":   {func(l *session.Login) { l.Claims = "{" }, session.ErrBadLogin},
		"claims of more than 8 KiB": {func(l *session.Login) { l.Claims = `{"a":"` + strings.Repeat("a", 8<<10) + `"}` }, session.ErrBadLogin},
		"claims that are no text":   {func(l *session.Login) { l.Claims = "{\"a\":\"\xff\"}" }, session.ErrBadLogin},
	} {
		t.Run(name, func(t *testing.T) {
			w, login := newShop(t), goodLogin()
			test.edit(&login)
			if _, err := w.manager.Open(t.Context(), w.issuer, login); !errors.Is(err, test.want) {
				t.Errorf("Open() = %v, want %q", err, test.want)
			}
			if got := w.store.operations(); got != 0 {
				t.Errorf("the store was asked %d times", got)
			}
		})
	}
}

func TestOldestSessionsAreEnded(t *testing.T) {
	w := newShop(t)
	w.issuer.Policy.MaxPerSubject = 3
	var opened []session.Opened
	for range 5 {
		opened = append(opened, w.open(t, goodLogin()))
		w.pass(time.Minute)
	}
	other := goodLogin()
	other.Subject = "bob"
	bob := w.open(t, other)
	for i, o := range opened {
		want := session.Rotated
		if i < 2 {
			want = session.Ended
		}
		if result := w.refresh(t, o.RefreshToken, want); i < 2 && result.Session.EndReason != session.EndSuperseded {
			t.Errorf("session %d ended for %q", i, result.Session.EndReason)
		}
	}
	w.refresh(t, bob.RefreshToken, session.Rotated)
	if got := opened[4].Superseded; len(got) != 1 || got[0].ID != opened[1].Session.ID {
		t.Errorf("the last login ended %v, want the second session", got)
	}
}

// After the number was lowered a login ends some of those that are too many, and leaves the new one.
func TestManyOldSessionsAreEndedByAndBy(t *testing.T) {
	w := newShop(t)
	w.issuer.Policy.MaxPerSubject = 40
	for range 40 {
		w.open(t, goodLogin())
	}
	w.issuer.Policy.MaxPerSubject = 1
	for range 3 {
		opened := w.open(t, goodLogin())
		w.refresh(t, opened.RefreshToken, session.Rotated)
	}
	live, err := w.store.ListSubject(t.Context(), w.issuer.Reference, "alice", w.clock.Now(), 100)
	if err != nil || len(live) != 1 {
		t.Errorf("%d sessions are left, %v; want 1", len(live), err)
	}
}

// A flood of forged tokens costs no operation of the store.
func TestForgedTokensCostNoOperation(t *testing.T) {
	w := newShop(t)
	good := w.open(t, goodLogin()).RefreshToken.Reveal()
	w.store.operations()
	random := rand.New(rand.NewPCG(1, 2))
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	for range 10_000 {
		forged := []byte(good)
		for range 1 + random.IntN(5) {
			forged[len(session.Prefix)+random.IntN(len(good)-len(session.Prefix))] = alphabet[random.IntN(len(alphabet))]
		}
		if string(forged) == good {
			continue
		}
		result, err := w.manager.Refresh(t.Context(), w.issuer, session.Request{Token: string(forged)})
		if err != nil || result.Reason.Granted() || result.Session != nil {
			t.Fatalf("Refresh() of a forged token = %s, %v", result.Reason, err)
		}
		if result, err := w.manager.End(t.Context(), w.issuer, session.Request{Token: string(forged)}, session.EndLogout); err != nil || result.Ended {
			t.Fatalf("End() of a forged token = %s, %v", result.Reason, err)
		}
	}
	if got := w.store.operations(); got != 0 {
		t.Errorf("the store was asked %d times", got)
	}
	w.refresh(t, session.RefreshToken{}, session.Malformed)
}

// However many requests present one token at once, there is one successor and one write.
func TestParallelRefreshes(t *testing.T) {
	w := newShop(t)
	token := w.open(t, goodLogin()).RefreshToken.Reveal()
	const requests = 100
	successors, reasons := make([]string, requests), make([]session.Reason, requests)
	var refreshing sync.WaitGroup
	begin := make(chan struct{})
	for i := range requests {
		refreshing.Go(func() {
			<-begin
			result, err := w.manager.Refresh(context.Background(), w.issuer, session.Request{Token: token})
			if err != nil {
				t.Errorf("Refresh(): %v", err)
			}
			successors[i], reasons[i] = result.RefreshToken.Reveal(), result.Reason
		})
	}
	close(begin)
	refreshing.Wait()
	rotated := 0
	for i := range requests {
		if successors[i] == "" || successors[i] != successors[0] {
			t.Errorf("request %d got another successor than request 0", i)
		}
		if reasons[i] == session.Rotated {
			rotated++
		} else if reasons[i] != session.Repeated {
			t.Errorf("request %d: %s", i, reasons[i])
		}
	}
	if got := w.store.writes.Load(); got != 1 || rotated != 1 {
		t.Errorf("%d writes and %d rotations, want 1 and 1", got, rotated)
	}
}
