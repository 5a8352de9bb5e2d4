package authserver

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr/funcr"
	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	testclock "k8s.io/utils/clock/testing"

	"github.com/keyturn/keyturn/api/v1alpha1"
	"github.com/keyturn/keyturn/internal/audit"
	"github.com/keyturn/keyturn/internal/issuers"
	"github.com/keyturn/keyturn/internal/keyring"
	"github.com/keyturn/keyturn/internal/revocation"
	"github.com/keyturn/keyturn/internal/session"
	"github.com/keyturn/keyturn/internal/session/memory"
	"github.com/keyturn/keyturn/internal/token"
)

// noon is when every test begins: in the middle of a second, as most requests come.
var noon = time.Date(2026, 3, 1, 12, 0, 0, int(300*time.Millisecond), time.UTC)

const (
	issuerURL = "https://tokens.example.com/shop"
	otherURL  = "https://tokens.example.com/other"
	host      = "tokens.example.com"
	origin    = "https://" + host
	password  = "correct horse battery staple"
	// workloadToken, otherToken and strangerToken are those of a workload that may do everything, of one that may do
	// nothing, and of none.
	workloadToken, otherToken, strangerToken = "sa-token-of-web", "sa-token-of-other", "sa-token-of-nobody"
	workloadName                             = "system:serviceaccount:web:frontend"
	idToken                                  = "id-token-of-dora"
)

// world is one issuer with everything that its endpoints work with: real keys, a real verifier, sessions in memory, and
// people who log in.
type world struct {
	*Server
	t        testing.TB
	clock    *testclock.FakeClock
	store    *store
	registry *prometheus.Registry

	issuer *v1alpha1.TokenIssuer
	// ring signs; keys make refresh tokens, and are nil in a replica that does not know them yet.
	ring   *keyring.Ring
	keys   *session.Keys
	rules  *revocation.Index
	synced bool

	// signing is what Signers answers, if it is an error.
	signing error
	// checking is what the ways to log in answer, if it is an error, and users are those with the password.
	checking error
	users    []string
	// revoking is what the Revoker answers. late keeps the rule back.
	revoking error
	late     bool
	denied   []string
	before   []time.Time

	mu          sync.Mutex
	audit, logs bytes.Buffer
	secrets     []string
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{
		t: t, clock: testclock.NewFakeClock(noon), registry: prometheus.NewRegistry(), rules: revocation.NewIndex(), synced: true,
		store: &store{Store: memory.New(), calls: map[string]int{}, fail: map[string]error{}},
		users: []string{"alice", "bob"}, issuer: newIssuer(),
	}
	w.makeKeys()
	var err error
	w.Server, err = New(Options{
		Store: w.store, Signers: w, Passwords: w, Workloads: w, Upstreams: w, Verifier: token.NewVerifier(w, w.clock, token.Options{}),
		Denier: w, Revoker: w, Audit: audit.New(locked{w, &w.audit}, w.clock), Clock: w.clock, Registerer: w.registry,
		Logger: funcr.New(func(prefix, args string) { _, _ = locked{w, &w.logs}.Write([]byte(prefix + args + "\n")) }, funcr.Options{}),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.checkSecrets)
	return w
}

func newIssuer() *v1alpha1.TokenIssuer {
	duration := func(d time.Duration) metav1.Duration { return metav1.Duration{Duration: d} }
	return &v1alpha1.TokenIssuer{
		ObjectMeta: metav1.ObjectMeta{Namespace: "web", Name: "shop"},
		Spec: v1alpha1.TokenIssuerSpec{
			IssuerURL: issuerURL, Audiences: []string{"shop-api"},
			Signing: &v1alpha1.Signing{Algorithm: "ES256", Rotation: v1alpha1.RotationPolicy{Period: duration(24 * time.Hour)}},
			Sessions: &v1alpha1.SessionPolicy{
				Login: v1alpha1.LoginSources{
					ServiceAccounts: &v1alpha1.ServiceAccountLogin{},
					Htpasswd:        &v1alpha1.HtpasswdLogin{SecretRef: v1alpha1.SecretReference{Name: "users"}, SubjectPrefix: "staff:"},
					Upstreams:       []v1alpha1.UpstreamLogin{{IssuerURL: "https://corp.example.com", SubjectPrefix: "corp:"}},
				},
				AccessLifetime: duration(10 * time.Minute), IdleLifetime: duration(72 * time.Hour),
				AbsoluteLifetime: duration(336 * time.Hour), GraceWindow: duration(10 * time.Second), MaxPerSubject: 10,
				Audiences: []string{"shop-api", "mail-api"}, Scopes: []string{"orders:read", "orders:write"},
				Claims:     v1alpha1.ClaimPolicy{FromLogin: []v1alpha1.ClaimName{"groups", "plan"}},
				Cookie:     v1alpha1.CookiePolicy{Name: "__Secure-shop", SameSite: v1alpha1.SameSiteStrict},
				RateLimits: v1alpha1.RateLimits{LoginPerAddress: 30, LoginPerUser: 10, RefreshPerSession: 30},
			},
		},
	}
}

func (w *world) makeKeys() {
	w.t.Helper()
	decision, err := keyring.Plan(noon, issuers.SigningPolicy(w.issuer), nil, keyring.Seen{}, keyring.Generate)
	if err != nil {
		w.t.Fatal(err)
	}
	refreshing, err := session.PlanKeys(noon, issuers.RefreshKeyPolicy(w.issuer), nil, rand.Reader)
	if err != nil {
		w.t.Fatal(err)
	}
	w.ring, w.keys = decision.Ring, refreshing.Keys
}

// spec is changed in place by tests, before the first request that should see it.
func (w *world) spec() *v1alpha1.SessionPolicy { return w.issuer.Spec.Sessions }

// edit gives the issuer another spec, as an update does: what was handed out before does not change.
func (w *world) edit(change func(*v1alpha1.SessionPolicy)) {
	w.issuer = w.issuer.DeepCopy()
	change(w.issuer.Spec.Sessions)
}

// authority is the snapshot that the registry would have of the issuer now.
func (w *world) authority() *issuers.Authority {
	name := types.NamespacedName{Namespace: w.issuer.Namespace, Name: w.issuer.Name}
	return &issuers.Authority{
		Name: name, Spec: w.spec(), Verification: w.ByURL(issuerURL), FixedClaims: map[string]any{"tenant": "acme"},
		Session: session.Issuer{
			Reference: session.IssuerReference{Namespace: name.Namespace, Name: name.Name}, URL: issuerURL, Keys: w.keys,
			Policy: issuers.SessionPolicy(w.issuer),
		},
	}
}

// locked lets handlers write at the same time.
type locked struct {
	w  *world
	to *bytes.Buffer
}

func (l locked) Write(line []byte) (int, error) {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	return l.to.Write(line)
}

// events are the lines of the audit log so far, each as kind and reason; take empties it.
func (w *world) takeEvents() []map[string]string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var events []map[string]string
	for line := range strings.Lines(w.audit.String()) {
		event := map[string]string{}
		if err := json.Unmarshal([]byte(line), &event); err != nil {
			w.t.Fatalf("the audit log has the line %q: %v", line, err)
		}
		events = append(events, event)
	}
	w.logs.Write(w.audit.Bytes())
	w.audit.Reset()
	return events
}

// wantEvents compares the audit log with lines of "kind reason".
func (w *world) wantEvents(want ...string) {
	w.t.Helper()
	var got []string
	for _, event := range w.takeEvents() {
		got = append(got, strings.TrimSpace(event["audit"]+" "+event["reason"]))
	}
	if !slices.Equal(got, want) {
		w.t.Errorf("the audit log says %q, want %q", got, want)
	}
}

// checkSecrets looks for everything secret that the test has seen in what was logged.
func (w *world) checkSecrets() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, secret := range append(w.secrets, password, workloadToken, otherToken, strangerToken, idToken) {
		if bytes.Contains(w.audit.Bytes(), []byte(secret)) || bytes.Contains(w.logs.Bytes(), []byte(secret)) {
			w.t.Errorf("a log holds the secret %.12s...", secret)
		}
	}
}
