package issuers

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keyturn/keyturn/api/v1alpha1"
	"github.com/keyturn/keyturn/internal/keyring"
	"github.com/keyturn/keyturn/internal/testenv"
	"github.com/keyturn/keyturn/internal/token"
)

func TestMain(m *testing.M) { os.Exit(testenv.Main(m)) }

// replica is a watcher against the real API server, in a namespace of its own.
type replica struct {
	client    client.Client
	namespace string
	registry  *Registry
	watcher   *Watcher
	verifier  *token.Verifier
}

func startReplica(t *testing.T) *replica {
	t.Helper()
	env := testenv.Environment(t)
	scheme := runtime.NewScheme()
	if err := clientgoscheme.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	r := &replica{registry: NewRegistry()}
	var err error
	if r.client, err = client.New(env.Config, client.Options{Scheme: scheme}); err != nil {
		t.Fatal(err)
	}
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "watcher-"}}
	if err := r.client.Create(t.Context(), namespace); err != nil {
		t.Fatal(err)
	}
	r.namespace = namespace.Name
	informers, err := cache.New(env.Config, cache.Options{
		Scheme: scheme, DefaultNamespaces: map[string]cache.Config{r.namespace: {}},
	})
	if err != nil {
		t.Fatal(err)
	}
	transport, err := rest.TransportFor(env.Config)
	if err != nil {
		t.Fatal(err)
	}
	r.watcher = NewWatcher(informers, r.registry, WatcherOptions{
		Clock: clock.RealClock{},
		External: ExternalOptions{
			AllowedInternal: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")},
			ClusterURL:      env.Config.Host, ClusterTransport: transport,
		},
	})
	r.verifier = token.NewVerifier(r.registry, clock.RealClock{}, token.Options{})
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 2)
	go func() { done <- informers.Start(ctx) }()
	go func() { done <- r.watcher.Start(ctx) }()
	t.Cleanup(func() {
		stop()
		for range 2 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	})
	eventually(t, "the first sync", r.registry.Synced)
	return r
}

func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	err := wait.PollUntilContextTimeout(t.Context(), 5*time.Millisecond, time.Minute, true, func(context.Context) (bool, error) {
		return condition(), nil
	})
	if err != nil {
		t.Fatalf("waiting for %s: %v", what, err)
	}
}

func (r *replica) create(t *testing.T, object client.Object) {
	t.Helper()
	object.SetNamespace(r.namespace)
	if err := r.client.Create(t.Context(), object); err != nil {
		t.Fatal(err)
	}
}

func (r *replica) reason(raw string) token.Reason { return r.verifier.Verify(raw, token.Want{}).Reason }

func TestWatcherFollowsIssuerRingAndRevocation(t *testing.T) {
	r := startReplica(t)
	issuer := &v1alpha1.TokenIssuer{ObjectMeta: metav1.ObjectMeta{Name: "shop"}, Spec: v1alpha1.TokenIssuerSpec{
		IssuerURL: "https://watched.example", Audiences: []string{"api"}, Signing: &v1alpha1.Signing{},
	}}
	r.create(t, issuer)
	ring := newRing(t, issuer)
	raw := sign(t, ring.Active().JWK, "at+jwt", jwt.Claims{Issuer: issuer.Spec.IssuerURL, Audience: jwt.Audience{"api"}})
	eventually(t, "the issuer without keys", func() bool { return r.reason(raw) == token.KeyUnknown })

	document, err := keyring.Encode(ring)
	if err != nil {
		t.Fatal(err)
	}
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: RingSecretName("shop"), Labels: map[string]string{
			v1alpha1.LabelComponent: v1alpha1.ComponentKeyring, v1alpha1.LabelIssuer: "shop",
		}},
		Type: v1alpha1.SecretTypeKeyring, Data: map[string][]byte{v1alpha1.DataRing: document},
	}
	r.create(t, secret)
	eventually(t, "its keys", func() bool { return r.reason(raw) == token.Allowed })

	secret.Data[v1alpha1.DataRing] = []byte("garbage")
	if err := r.client.Update(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	other := &v1alpha1.TokenRevocation{ObjectMeta: metav1.ObjectMeta{Name: "bob"}, Spec: v1alpha1.TokenRevocationSpec{
		IssuerRef: v1alpha1.IssuerReference{Name: "shop"}, Subject: "bob",
	}}
	r.create(t, other)
	name := client.ObjectKeyFromObject(issuer)
	eventually(t, "the revocation of somebody else", func() bool { return r.registry.RuleApplied(name, Rule(other)) })
	if got := r.reason(raw); got != token.Allowed {
		t.Errorf("an unreadable ring and a foreign revocation turn a good token bad: %s", got)
	}

	everything := &v1alpha1.TokenRevocation{ObjectMeta: metav1.ObjectMeta{Name: "all"}, Spec: v1alpha1.TokenRevocationSpec{
		IssuerRef: v1alpha1.IssuerReference{Name: "shop"}, All: ptr.To(true),
		IssuedBefore: &metav1.Time{Time: time.Now().Add(time.Hour)},
	}}
	r.create(t, everything)
	eventually(t, "the revocation", func() bool { return r.reason(raw) == token.Revoked })
	if err := r.client.Delete(t.Context(), everything); err != nil {
		t.Fatal(err)
	}
	eventually(t, "its being lifted", func() bool { return r.reason(raw) == token.Allowed })
	if err := r.client.Delete(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the ring to be gone", func() bool { return r.reason(raw) == token.KeyUnknown })
	if err := r.client.Delete(t.Context(), issuer); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the issuer to be gone", func() bool { return r.reason(raw) == token.IssuerUnknown })
}

// provider is somebody else's issuer.
type provider struct {
	*httptest.Server
	keys atomic.Pointer[jose.JSONWebKeySet]
}

func newProvider(t *testing.T) *provider {
	t.Helper()
	p := &provider{}
	mux := http.NewServeMux()
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"issuer":%q,"jwks_uri":%q}`, p.URL, p.URL+"/keys")
	})
	mux.HandleFunc("/keys", func(w http.ResponseWriter, _ *http.Request) {
		if err := json.NewEncoder(w).Encode(p.keys.Load()); err != nil {
			t.Error(err)
		}
	})
	p.Server = httptest.NewTLSServer(mux)
	t.Cleanup(p.Close)
	return p
}

// rotate publishes a new key in place of the one before.
func (p *provider) rotate(t *testing.T, id string) jose.JSONWebKey {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key := jose.JSONWebKey{Key: private, KeyID: id, Algorithm: "ES256", Use: "sig"}
	p.keys.Store(&jose.JSONWebKeySet{Keys: []jose.JSONWebKey{key.Public()}})
	return key
}

func sign(t *testing.T, key jose.JSONWebKey, typ string, claims jwt.Claims) string {
	t.Helper()
	options := (&jose.SignerOptions{}).WithType(jose.ContentType(typ)).WithHeader("kid", key.KeyID)
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.SignatureAlgorithm(key.Algorithm), Key: key.Key}, options)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	claims.Subject, claims.ID = "alice", rand.Text()
	claims.IssuedAt, claims.Expiry = jwt.NewNumericDate(now), jwt.NewNumericDate(now.Add(10*time.Minute))
	raw, err := jwt.Signed(signer).Claims(claims).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestExternalIssuerIsVerifiedAndRevoked(t *testing.T) {
	p := newProvider(t)
	first := p.rotate(t, "first")
	r := startReplica(t)
	issuer := &v1alpha1.TokenIssuer{ObjectMeta: metav1.ObjectMeta{Name: "cloud"}, Spec: v1alpha1.TokenIssuerSpec{
		IssuerURL: p.URL, Audiences: []string{"api"},
		External: &v1alpha1.External{CABundle: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.Certificate().Raw}))},
	}}
	r.create(t, issuer)
	claims := jwt.Claims{Issuer: p.URL, Audience: jwt.Audience{"api"}}
	old := sign(t, first, "JWT", claims)
	eventually(t, "the first keys", func() bool { return r.reason(old) == token.Allowed })
	if status, known := r.watcher.ExternalStatus(client.ObjectKeyFromObject(issuer)); !known || len(status.Keys) != 1 || status.LastError != "" {
		t.Errorf("status: %+v, %v", status, known)
	}

	second := p.rotate(t, "second")
	fresh := sign(t, second, "JWT", claims)
	eventually(t, "a key that a token names first", func() bool { return r.reason(fresh) == token.Allowed })
	if got := r.reason(old); got != token.KeyUnknown {
		t.Errorf("a token of a key that the provider no longer publishes: %s", got)
	}
	if got := r.reason(sign(t, second, "refresh+jwt", claims)); got != token.TypeNotAllowed {
		t.Errorf("a token of another type: %s", got)
	}

	r.create(t, &v1alpha1.TokenRevocation{ObjectMeta: metav1.ObjectMeta{Name: "second"}, Spec: v1alpha1.TokenRevocationSpec{
		IssuerRef: v1alpha1.IssuerReference{Name: "cloud"}, KeyID: "second",
	}})
	eventually(t, "the revocation of the provider's key", func() bool { return r.reason(fresh) == token.KeyRevoked })
	if err := r.client.Delete(t.Context(), issuer); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the issuer to be gone", func() bool { return r.reason(fresh) == token.IssuerUnknown })
	if _, known := r.watcher.ExternalStatus(client.ObjectKeyFromObject(issuer)); known {
		t.Error("keys of an issuer that is gone are still fetched")
	}
}

// TestClusterIssuer verifies a ServiceAccount's token with the keys of the API server that issued it.
func TestClusterIssuer(t *testing.T) {
	r := startReplica(t)
	clients, err := kubernetes.NewForConfig(testenv.Environment(t).Config)
	if err != nil {
		t.Fatal(err)
	}
	discovery, err := clients.RESTClient().Get().AbsPath("/.well-known/openid-configuration").DoRaw(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var metadata struct {
		Issuer string `json:"issuer"`
	}
	if err := json.Unmarshal(discovery, &metadata); err != nil {
		t.Fatal(err)
	}
	r.create(t, &v1alpha1.TokenIssuer{ObjectMeta: metav1.ObjectMeta{Name: "cluster"}, Spec: v1alpha1.TokenIssuerSpec{
		IssuerURL: metadata.Issuer, Audiences: []string{"api"}, External: &v1alpha1.External{FromCluster: true},
	}})
	r.create(t, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "robot"}})
	request, err := clients.CoreV1().ServiceAccounts(r.namespace).CreateToken(t.Context(), "robot", &authenticationv1.TokenRequest{
		Spec: authenticationv1.TokenRequestSpec{Audiences: []string{"api"}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the token of a ServiceAccount to be good", func() bool { return r.reason(request.Status.Token) == token.Allowed })
	subject := r.verifier.Verify(request.Status.Token, token.Want{}).Claims.Subject
	if want := "system:serviceaccount:" + r.namespace + ":robot"; subject != want {
		t.Errorf("subject %q, want %q", subject, want)
	}
}
