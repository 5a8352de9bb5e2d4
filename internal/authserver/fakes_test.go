package authserver

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"k8s.io/apimachinery/pkg/types"

	"github.com/keyturn/keyturn/api/v1alpha1"
	"github.com/keyturn/keyturn/internal/issuers"
	"github.com/keyturn/keyturn/internal/login"
	"github.com/keyturn/keyturn/internal/revocation"
	"github.com/keyturn/keyturn/internal/session"
	"github.com/keyturn/keyturn/internal/token"
)

// Synced implements token.Directory.
func (w *world) Synced() bool { return w.synced }

// ByURL implements token.Directory. The issuer at otherURL has the same keys, so that nothing but its URL tells it apart.
func (w *world) ByURL(url string) *token.Issuer {
	if url != issuerURL && url != otherURL {
		return nil
	}
	key := w.ring.Active()
	public := key.JWK.Public()
	return &token.Issuer{
		Namespace: w.issuer.Namespace, Name: w.issuer.Name, URL: url, Audiences: w.issuer.Spec.Audiences,
		Scopes: w.issuer.Spec.Tokens.RequiredScopes, Types: []string{"at+jwt"}, Revocations: w.rules,
		Keys: map[string]*token.Key{key.ID: {
			ID: key.ID, Algorithms: []jose.SignatureAlgorithm{key.Algorithm}, Public: public.Key, MaxLifetime: key.MaxLifetime,
		}},
	}
}

// Signer implements Signers.
func (w *world) Signer(context.Context, *issuers.Authority) (*token.Signer, error) {
	if w.signing != nil {
		return nil, w.signing
	}
	key := w.ring.Active()
	return token.NewSigner(&key.JWK, key.Algorithm, key.MaxLifetime)
}

// Check implements Passwords.
func (w *world) Check(_ context.Context, namespace string, spec *v1alpha1.HtpasswdLogin, user, given string) (login.Identity, error) {
	switch {
	case namespace != w.issuer.Namespace || spec.SecretRef.Name != "users":
		return login.Identity{}, errors.New("asked for the users of somebody else")
	case w.checking != nil:
		return login.Identity{}, w.checking
	case given != password || !slices.Contains(w.users, user):
		return login.Identity{}, login.ErrRefused
	}
	return login.Identity{Subject: spec.SubjectPrefix + user, Source: session.SourcePassword}, nil
}

// Knows implements Passwords. It looks at the name alone, so that nothing here relies on it for the prefix.
func (w *world) Knows(_ context.Context, _ string, _ *v1alpha1.HtpasswdLogin, subject string) (bool, error) {
	_, user, _ := strings.Cut(subject, ":")
	return slices.Contains(w.users, user), w.checking
}

// Authorize implements Workloads.
func (w *world) Authorize(_ context.Context, issuer types.NamespacedName, url, presented, verb string) (login.Workload, error) {
	switch {
	case issuer.String() != "web/shop" || url != issuerURL || (verb != v1alpha1.VerbIssue && verb != v1alpha1.VerbIntrospect):
		return login.Workload{}, errors.New("asked about something else")
	case w.checking != nil:
		return login.Workload{}, w.checking
	case presented == workloadToken:
		return login.Workload{Name: workloadName}, nil
	case presented == otherToken:
		return login.Workload{Name: "system:serviceaccount:web:other"}, login.ErrForbidden
	}
	return login.Workload{}, login.ErrRefused
}

// Authenticate implements Upstreams.
func (w *world) Authenticate(_ context.Context, specs []v1alpha1.UpstreamLogin, presented string) (login.Identity, error) {
	switch {
	case w.checking != nil:
		return login.Identity{}, w.checking
	case presented != idToken:
		return login.Identity{}, login.ErrRefused
	}
	return login.Identity{
		Subject: specs[0].SubjectPrefix + "dora", Source: session.SourceUpstream, Client: "corp-portal",
		Claims: map[string]any{"groups": []string{"staff"}, "phone": "+1 555 0100"},
	}, nil
}

// DenySession implements Denier.
func (w *world) DenySession(issuer types.NamespacedName, sessionID string) {
	if issuer.String() != "web/shop" {
		w.t.Errorf("a session of %s is denied", issuer)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.denied = append(w.denied, sessionID)
	w.rules.Put(revocation.Rule{ID: "session/" + sessionID, Kind: revocation.SessionID, Value: sessionID})
}

// RevokeSubject implements Revoker.
func (w *world) RevokeSubject(_ context.Context, issuer types.NamespacedName, subject string, before time.Time) error {
	if issuer.String() != "web/shop" {
		w.t.Errorf("a subject of %s is revoked", issuer)
	}
	if w.revoking != nil {
		return w.revoking
	}
	w.before = append(w.before, before)
	if !w.late {
		w.revoke(revocation.Subject, subject, before)
	}
	return nil
}

func (w *world) revoke(kind revocation.Kind, value string, before time.Time) {
	w.rules.Put(revocation.Rule{ID: "rule/" + value, Kind: kind, Value: value, IssuedBefore: before})
}

// store counts what is asked of it, and fails where it is told to.
type store struct {
	session.Store
	mu    sync.Mutex
	calls map[string]int
	fail  map[string]error
}

func (s *store) called(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls[name]++
	return s.fail[name]
}

func (s *store) total() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	total := 0
	for _, calls := range s.calls {
		total += calls
	}
	return total
}

func (s *store) Create(ctx context.Context, created *session.Session) (*session.Session, error) {
	if err := s.called("Create"); err != nil {
		return nil, err
	}
	return s.Store.Create(ctx, created)
}

func (s *store) Get(ctx context.Context, issuer session.IssuerReference, id session.ID) (*session.Session, error) {
	if err := s.called("Get"); err != nil {
		return nil, err
	}
	return s.Store.Get(ctx, issuer, id)
}

func (s *store) CompareAndSwap(ctx context.Context, read *session.Session, next session.State) (*session.Session, error) {
	if err := s.called("CompareAndSwap"); err != nil {
		return nil, err
	}
	return s.Store.CompareAndSwap(ctx, read, next)
}

func (s *store) End(ctx context.Context, issuer session.IssuerReference, id session.ID, at time.Time, why session.EndReason) (*session.Session, error) {
	if err := s.called("End"); err != nil {
		return nil, err
	}
	return s.Store.End(ctx, issuer, id, at, why)
}

func (s *store) EndSubject(ctx context.Context, issuer session.IssuerReference, subject string, at time.Time, why session.EndReason) ([]*session.Session, error) {
	if err := s.called("EndSubject"); err != nil {
		return nil, err
	}
	return s.Store.EndSubject(ctx, issuer, subject, at, why)
}

func (s *store) ListSubject(ctx context.Context, issuer session.IssuerReference, subject string, now time.Time, limit int) ([]*session.Session, error) {
	if err := s.called("ListSubject"); err != nil {
		return nil, err
	}
	return s.Store.ListSubject(ctx, issuer, subject, now, limit)
}
