package api

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/keyturn/keyturn/api/v1alpha1"
)

// TestAccepted creates specs at the edges of what is allowed.
func TestAccepted(t *testing.T) {
	server := apiServer(t)
	for _, test := range []struct{ name, kind, base, change string }{
		{"the smallest one", "TokenIssuer", signingIssuer, ``},
		{"a path", "TokenIssuer", signingIssuer, `issuerURL: https://tokens.shop.example/eu/Shop_1~a.b-c`},
		{"a port", "TokenIssuer", signingIssuer, `issuerURL: https://tokens.shop.example:8443`},
		{"a port and a path", "TokenIssuer", signingIssuer, `issuerURL: https://tokens.shop.example:8443/shop`},
		{"an IPv4 address", "TokenIssuer", signingIssuer, `issuerURL: https://192.0.2.1:8443`},
		{"an IPv6 address", "TokenIssuer", signingIssuer, `issuerURL: "https://[2001:db8::1]"`},
		{"an IPv6 address with port and path", "TokenIssuer", signingIssuer, `issuerURL: "https://[2001:db8::1]:8443/shop"`},
		{"a host without dots", "TokenIssuer", signingIssuer, `issuerURL: https://keyturn`},
		{"a path that only resembles one of the service", "TokenIssuer", signingIssuer, `issuerURL: https://tokens.shop.example/verifying`},
		{"a taken path further down", "TokenIssuer", signingIssuer, `issuerURL: https://tokens.shop.example/shop/verify`},
		{"32 audiences", "TokenIssuer", signingIssuer, `audiences: ` + list(32)},
		{"an RSA key", "TokenIssuer", signingIssuer, `signing: {algorithm: PS512, keySize: 4096}`},
		{"a shared secret", "TokenIssuer", signingIssuer, `signing: {algorithm: HS256}`},
		{"the shortest period with the defaults", "TokenIssuer", signingIssuer, `signing: {rotation: {period: 12m30s}}`},
		{"a period of a second", "TokenIssuer", signingIssuer, `
signing: {rotation: {period: 1s}, secret: {propagationDelay: 0s}}
jwks: {maxAge: 1s}
tokens: {clockSkew: 0s, maxLifetime: 20s}`},
		{"the default lifetime at 20 periods", "TokenIssuer", signingIssuer, `
signing: {rotation: {period: 45s}, secret: {propagationDelay: 0s}}
jwks: {maxAge: 1s}
tokens: {clockSkew: 0s}`},
		{"durations of several units", "TokenIssuer", signingIssuer, `{signing: {rotation: {period: 1h2m3.5s}}, tokens: {clockSkew: 500ms}}`},
		{"16 labels", "TokenIssuer", signingIssuer, `signing: {secret: {template: {labels: ` + mapping(16) + `}}}`},
		{"annotations for a reloader", "TokenIssuer", signingIssuer,
			`signing: {secret: {template: {annotations: {reloader.stakater.com/Match: "true", plain: ` + strings.Repeat("b", 4096) + `}}}}`},
		{"tokens without a type", "TokenIssuer", signingIssuer, `tokens: {types: ["", JWT]}`},

		{"sessions", "TokenIssuer", sessionsIssuer, ``},
		{"users with a password", "TokenIssuer", passwordIssuer, ``},
		{"users of an upstream", "TokenIssuer", upstreamIssuer, ``},
		{"every way to log in", "TokenIssuer", sessionsIssuer, sources("staff:", "a:", "b:", "c.d-e_F0:")},
		{"the shortest sessions", "TokenIssuer", sessionsIssuer,
			`sessions: {accessLifetime: 10s, idleLifetime: 20s, absoluteLifetime: 20s, graceWindow: 0s, maxPerSubject: 1}`},
		{"the longest sessions", "TokenIssuer", sessionsIssuer, `
tokens: {maxLifetime: 24h}
sessions: {accessLifetime: 24h, idleLifetime: 8760h, absoluteLifetime: 8760h, graceWindow: 1m, maxPerSubject: 100, afterRollback: EndSession}`},
		{"access tokens of maxLifetime", "TokenIssuer", sessionsIssuer, `sessions: {accessLifetime: 15m}`},
		{"a cookie and origins", "TokenIssuer", sessionsIssuer, `
sessions:
  cookie: {name: __Secure-shop, sameSite: Lax}
  allowedOrigins: ["https://shop.example", "https://shop.example:8443", "http://localhost:3000", "http://127.0.0.1"]`},
		{"claims of all sorts", "TokenIssuer", sessionsIssuer, `
sessions:
  audiences: [shop-api]
  scopes: [orders:read]
  claims: {fixed: [{name: tenant, value: shop}, {name: empty, value: ""}, {name: roles, values: [a, ""]}], fromLogin: [groups, email]}`},
		{"claims of an upstream", "TokenIssuer", upstreamIssuer,
			`sessions: {login: {upstreams: [` + upstream(`{subjectClaim: oid, claims: [{name: groups, from: roles}, {name: email}]}`) + `]}}`},
		{"a session", "Session", session, ``},
		{"an ended session", "Session", session, endedSession},
		{"a session with everything", "Session", session, `
spec: {scopes: [orders:read], claims: '{"groups": ["staff"]}', source: Upstream}
state: {generation: 9007199254740991}`},

		{"discovery", "TokenIssuer", externalIssuer, ``},
		{"a trailing slash of somebody else", "TokenIssuer", externalIssuer, `issuerURL: https://tenant.login.example/`},
		{"an upper-case path of somebody else", "TokenIssuer", externalIssuer, `issuerURL: https://login.example/Realms/A%20B/verify`},
		{"an at sign in a path", "TokenIssuer", externalIssuer, `issuerURL: https://login.example/@shop`},
		{"a JWKS URL with a query", "TokenIssuer", externalIssuer, `external: {jwksURL: "https://login.example?owner=me@shop.example"}`},
		{"the cluster's own", "TokenIssuer", externalIssuer, `external: {fromCluster: true}`},
		{"a JWKS URL and fromCluster as false", "TokenIssuer", externalIssuer, `external: {fromCluster: false, jwksURL: "https://login.example/keys"}`},
		{"all asymmetric algorithms", "TokenIssuer", externalIssuer,
			`external: {algorithms: [ES256, ES384, ES512, EdDSA, RS256, RS384, RS512, PS256, PS384, PS512]}`},

		{"a token id", "TokenRevocation", revocation, `tokenID: t1`},
		{"a session id", "TokenRevocation", revocation, `sessionID: s1`},
		{"a key id", "TokenRevocation", revocation, `keyID: k1`},
		{"a subject", "TokenRevocation", revocation, `{subject: "auth0|42", issuedBefore: "2026-01-01T00:00:00Z"}`},
		{"a client id", "TokenRevocation", revocation, `{clientID: c1, issuedBefore: "2026-01-01T00:00:00Z"}`},
		{"an audience", "TokenRevocation", revocation, `{audience: shop-api, issuedBefore: "2026-01-01T00:00:00Z"}`},
		{"all", "TokenRevocation", revocation, `{all: true, issuedBefore: "2026-01-01T00:00:00Z", reason: leak, retainAfterExpiry: true}`},
	} {
		t.Run(test.kind+"/"+test.name, func(t *testing.T) {
			created := object(t, test.kind, nameOf(test.kind), test.base, test.change)
			if err := server.Create(t.Context(), created, client.DryRunAll); err != nil {
				t.Errorf("refused: %v", err)
			}
		})
	}
}

const (
	signingDefaults = `
issuerURL: https://tokens.shop.example
audiences: [shop-api]
signing:
  algorithm: ES256
  deletionPolicy: Delete
  rotation: {period: 720h}
  secret: {export: true, propagationDelay: 2m}
tokens: {clockSkew: 30s, groupsClaim: groups}
jwks: {maxAge: 10m}`
	externalDefaults = `
issuerURL: https://login.shop.example/realms/shop
audiences: [shop-api]
external: {refreshInterval: 10m, maxStaleness: 24h}
tokens: {clockSkew: 30s, groupsClaim: groups}
jwks: {maxAge: 10m}`
)

const (
	commonDefaults = `
sessions:
  accessLifetime: 10m
  idleLifetime: 72h
  absoluteLifetime: 336h
  graceWindow: 10s
  afterRollback: MoveForward
  maxPerSubject: 10
  cookie: {name: __Secure-keyturn, sameSite: Strict}
  rateLimits: {loginPerAddress: 30, loginPerUser: 10, refreshPerSession: 30}`
	sessionsDefaults = commonDefaults + `
  login: {serviceAccounts: {}}`
	passwordDefaults = commonDefaults + `
  login: {htpasswd: {secretRef: {name: users}, subjectPrefix: ""}}`
	upstreamDefaults = commonDefaults + `
  login: {upstreams: [{issuerURL: "` + upstreamURL + `", audiences: [web], subjectClaim: sub, subjectPrefix: ""}]}`
)

// TestDefaults compares the smallest specs, after the API server has filled them in, with what the fields' comments say.
func TestDefaults(t *testing.T) {
	server := apiServer(t)
	for _, test := range []struct{ name, kind, base, want string }{
		{"signing", "TokenIssuer", signingIssuer, signingDefaults},
		{"external", "TokenIssuer", externalIssuer, externalDefaults},
		{"revocation", "TokenRevocation", revocation + "\nsubject: alice", "issuerRef: {name: shop}\nsubject: alice"},
		{"sessions", "TokenIssuer", sessionsIssuer, signingDefaults + sessionsDefaults},
		{"users with a password", "TokenIssuer", passwordIssuer, signingDefaults + passwordDefaults},
		{"users of an upstream", "TokenIssuer", upstreamIssuer, signingDefaults + upstreamDefaults},
	} {
		t.Run(test.name, func(t *testing.T) {
			created := object(t, test.kind, "defaults", test.base, "")
			if err := server.Create(t.Context(), created, client.DryRunAll); err != nil {
				t.Fatalf("refused: %v", err)
			}
			want := object(t, test.kind, "defaults", test.want, "")
			if diff := cmp.Diff(want.Object["spec"], created.Object["spec"]); diff != "" {
				t.Errorf("the filled-in spec (-want +got):\n%s", diff)
			}
		})
	}
}

// TestDefaultsOfTypedClient creates issuers by their Go types, whose zero values must be left out of the request, or
// they would stand in the way of the defaults.
func TestDefaultsOfTypedClient(t *testing.T) {
	server := apiServer(t)
	for name, test := range map[string]struct {
		spec v1alpha1.TokenIssuerSpec
		want string
	}{
		"signing": {v1alpha1.TokenIssuerSpec{
			IssuerURL: "https://tokens.shop.example", Audiences: []string{"shop-api"}, Signing: &v1alpha1.Signing{},
		}, signingDefaults},
		"sessions": {v1alpha1.TokenIssuerSpec{
			IssuerURL: "https://tokens.shop.example", Audiences: []string{"shop-api"}, Signing: &v1alpha1.Signing{},
			Sessions: &v1alpha1.SessionPolicy{Login: v1alpha1.LoginSources{ServiceAccounts: &v1alpha1.ServiceAccountLogin{}}},
		}, signingDefaults + sessionsDefaults},
		"external": {v1alpha1.TokenIssuerSpec{
			IssuerURL: "https://login.shop.example/realms/shop", Audiences: []string{"shop-api"}, External: &v1alpha1.External{},
		}, externalDefaults},
	} {
		t.Run(name, func(t *testing.T) {
			created := &v1alpha1.TokenIssuer{ObjectMeta: metav1.ObjectMeta{Name: "typed", Namespace: namespace}, Spec: test.spec}
			if err := server.Create(t.Context(), created, client.DryRunAll); err != nil {
				t.Fatalf("refused: %v", err)
			}
			var want v1alpha1.TokenIssuerSpec
			if err := yaml.UnmarshalStrict([]byte(test.want), &want); err != nil {
				t.Fatalf("the wanted spec is bad YAML: %v", err)
			}
			if diff := cmp.Diff(want, created.Spec); diff != "" {
				t.Errorf("the filled-in spec (-want +got):\n%s", diff)
			}
		})
	}
}

// TestSamples creates what config/samples offers to copy.
func TestSamples(t *testing.T) {
	strict := client.WithFieldValidation(apiServer(t), metav1.FieldValidationStrict)
	files, err := filepath.Glob("../../config/samples/keyturn_*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("found no samples (error: %v)", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			sample := &unstructured.Unstructured{}
			if err := yaml.UnmarshalStrict(text, &sample.Object); err != nil {
				t.Fatalf("not YAML: %v", err)
			}
			if err := strict.Create(t.Context(), sample, client.DryRunAll); err != nil {
				t.Errorf("refused: %v", err)
			}
		})
	}
}
