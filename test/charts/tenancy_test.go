package charts

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keyturn/keyturn/api/v1alpha1"
	"github.com/keyturn/keyturn/internal/testenv"
	"github.com/keyturn/keyturn/internal/testenv/testoperator"
)

// tenancy is a release with rules about hosts, confined to its own namespaces so that it concerns no other test.
type tenancy struct {
	*testoperator.Administrator
	// shop has rules of its own, and bare has none.
	shop, bare string
	kubeconfig string
}

func newTenancy(t *testing.T, values string) *tenancy {
	t.Helper()
	a := testoperator.NewAdministrator(t)
	w := &tenancy{Administrator: a, shop: a.NewNamespace(), bare: a.NewNamespace()}
	w.kubeconfig = filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(w.kubeconfig, testenv.Environment(t).KubeConfig, 0o600); err != nil {
		t.Fatal(err)
	}
	w.helm("install", values)
	t.Cleanup(func() {
		if _, err := helm(t, "uninstall", release, "--namespace", a.Namespace, "--kubeconfig", w.kubeconfig); err != nil {
			t.Errorf("removing the release: %v", err)
		}
	})
	w.enforced()
	return w
}

// helm installs or upgrades the release. SHOP and BARE in the values are the two namespaces.
func (w *tenancy) helm(verb, values string) {
	w.Helper()
	file := filepath.Join(w.TempDir(), "values.yaml")
	document := strings.NewReplacer("SHOP", w.shop, "BARE", w.bare).Replace(values)
	if err := os.WriteFile(file, []byte(document), 0o600); err != nil {
		w.Fatal(err)
	}
	_, err := helm(w.TB, verb, release, chart, "--namespace", w.Namespace, "--kubeconfig", w.kubeconfig, "--values", file,
		"--set", "crds.enabled=false,rbac.aggregate=false,watchNamespaces={"+w.shop+","+w.bare+"}")
	if err != nil {
		w.Fatal(err)
	}
}

// enforced waits until the API server knows the policy, of which it learns by a watch.
func (w *tenancy) enforced() {
	w.Helper()
	testoperator.Eventually(w.TB, "the policy in force", func() error {
		if w.claim(w.bare, "https://nobody.example") == nil {
			return errors.New("a host that nobody may claim is accepted")
		}
		return nil
	})
}

// claim tries to create an issuer with a URL, and leaves none behind.
func (w *tenancy) claim(namespace, url string) error {
	issuer := &v1alpha1.TokenIssuer{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "claim"},
		Spec:       v1alpha1.TokenIssuerSpec{IssuerURL: url, Audiences: []string{"any"}, External: &v1alpha1.External{}},
	}
	return w.Create(w.Context(), issuer, client.DryRunAll)
}

// wantClaim waits for the answer to a claim, since the API server learns of a changed policy by a watch. Refused, the answer
// must say each of these.
func (w *tenancy) wantClaim(namespace, url string, allowed bool, said ...string) {
	w.Helper()
	testoperator.Eventually(w.TB, "claiming "+url, func() error {
		err := w.claim(namespace, url)
		if allowed {
			return err
		}
		if err == nil {
			return errors.New("it is accepted")
		}
		if !apierrors.IsForbidden(err) {
			return fmt.Errorf("it is not forbidden, but: %w", err)
		}
		for _, part := range said {
			if !strings.Contains(err.Error(), part) {
				return fmt.Errorf("the answer does not say %q: %w", part, err)
			}
		}
		return nil
	})
}

const shopRules = `
tenancy:
  enabled: true
  contact: Ada in room 7
  everyNamespace: ["{namespace}.tokens.example"]
  hosts:
    - namespaces: [SHOP]
      hosts: [tokens.shop.example, "*.apps.example", "ports.example:8443", "[2001:db8::7]", xn--bcher-kva.example]
`

func TestNamespacesClaimTheirHostsOnly(t *testing.T) {
	w := newTenancy(t, shopRules)
	for _, url := range []string{
		"https://tokens.shop.example", "https://tokens.shop.example/realms/Shop", "https://tokens.shop.example:443/a",
		"https://a.apps.example", "https://ports.example:8443/a", "https://[2001:db8::7]/a", "https://[2001:db8::7]:443",
		"https://xn--bcher-kva.example", "https://" + w.shop + ".tokens.example",
	} {
		if err := w.claim(w.shop, url); err != nil {
			t.Errorf("%s is refused: %v", url, err)
		}
	}
	for _, url := range []string{
		"https://evil.example", "https://shop.example", "https://a.tokens.shop.example", "https://tokens.shop.example.evil.example",
		// Another port is another server.
		"https://tokens.shop.example:8443", "https://ports.example", "https://tokens.shop.example:", "https://tokens.shop.example:0443",
		"https://ports.example:8443:443",
		// Spelled differently, and the same host to some clients.
		"https://TOKENS.shop.example", "https://tokens.shop.example.", "https://tokens.shop.example./a", "https://tokens%2Eshop.example",
		"https://bücher.example", "https://tokens。shop.example", "HTTPS://tokens.shop.example",
		// What stands in front of the host, or behind it.
		"https://tokens.shop.example@evil.example", "https://tokens.shop.example:443@evil.example", "https://x@tokens.shop.example",
		"https://evil.example/tokens.shop.example", "https://evil.example/https://tokens.shop.example",
		"https://evil.example\\@tokens.shop.example", "https://tokens.shop.example\\.evil.example", "https:///tokens.shop.example",
		// A wildcard is for one label.
		"https://apps.example", "https://a.b.apps.example", "https://.apps.example", "https://*.apps.example",
		"https://-.apps.example", "https://xapps.example", "https://a.apps.example:8443", "https://a.apps.example.",
		"https://[fe80::1%25.apps.example]", "https://[fe80::1%25a.apps.example]",
		"https://[2001:db8::8]", "https://[2001:db8:0::7]", "https://2001:db8::7",
		"https://" + w.bare + ".tokens.example", "https://tokens.example",
	} {
		if err := w.claim(w.shop, url); err == nil {
			t.Errorf("%s is accepted", url)
		}
	}
	if err := w.claim(w.bare, "https://"+w.bare+".tokens.example"); err != nil {
		t.Errorf("a namespace without rules of its own is refused what every namespace may: %v", err)
	}

	where := "ask Ada in room 7 to add the host to tenancy.hosts of the Helm release keyturn in the namespace " + w.Namespace
	w.wantClaim(w.shop, "https://evil.example:99/a", false, "the namespace "+w.shop+" may not claim the host evil.example:99",
		"it may claim "+w.shop+".tokens.example, tokens.shop.example, *.apps.example, ports.example:8443", where)
	w.wantClaim(w.bare, "https://tokens.shop.example", false, "it may claim "+w.bare+".tokens.example. To change", where)
}

// TestRulesChange upgrades the release, and takes the policy away in between.
func TestRulesChange(t *testing.T) {
	w := newTenancy(t, "tenancy: {enabled: true, hosts: [{namespaces: [SHOP], hosts: [tokens.shop.example]}]}")
	w.wantClaim(w.bare, "https://bare.example", false, "may claim no host")
	w.helm("upgrade", "tenancy: {enabled: true, hosts: [{namespaces: [SHOP], hosts: [new.shop.example]}]}")
	w.wantClaim(w.shop, "https://new.shop.example", true)
	w.wantClaim(w.shop, "https://tokens.shop.example", false, "it may claim new.shop.example.")
	w.helm("upgrade", "tenancy: {enabled: true, validationActions: [Warn]}")
	w.wantClaim(w.shop, "https://tokens.shop.example", true)
	w.helm("upgrade", "tenancy: {enabled: false}")
	w.wantClaim(w.shop, "https://tokens.shop.example", true)
	w.helm("upgrade", "tenancy: {enabled: true, hosts: [{namespaces: [SHOP], hosts: ['*']}]}")
	w.enforced()
	w.wantClaim(w.shop, "https://anything.example:8443", true)
}

// TestNamespacesBringTheirHosts gives hosts by labels and by the annotation of a namespace.
func TestNamespacesBringTheirHosts(t *testing.T) {
	const rule = "hosts: [{namespaceLabels: {team: shop, tier: web}, hosts: [labels.example]}]"
	w := newTenancy(t, "tenancy: {enabled: true, namespaceAnnotation: keyturn.dev/issuer-hosts, "+rule+"}")
	w.wantClaim(w.shop, "https://labels.example", false, "may claim no host", "to the annotation keyturn.dev/issuer-hosts of the namespace")
	w.describe(w.shop, map[string]string{"team": "shop"}, nil)
	w.describe(w.bare, map[string]string{"team": "shop", "tier": "web"}, nil)
	w.wantClaim(w.bare, "https://labels.example", true)
	w.wantClaim(w.shop, "https://labels.example", false)

	// Written by a person: upper case, commas, tabs and lines.
	w.describe(w.shop, nil, map[string]string{"keyturn.dev/issuer-hosts": "One.example,\ttwo.example\n*.three.example\n"})
	for _, host := range []string{"one.example", "two.example", "a.three.example"} {
		w.wantClaim(w.shop, "https://"+host, true)
	}
	w.wantClaim(w.shop, "https://four.example", false, "it may claim one.example, two.example, *.three.example.")
	w.wantClaim(w.bare, "https://one.example", false)

	w.helm("upgrade", "tenancy: {enabled: true, "+rule+"}")
	w.wantClaim(w.shop, "https://one.example", false, "may claim no host")
}

// describe puts labels and annotations on a namespace.
func (w *tenancy) describe(name string, labels, annotations map[string]string) {
	w.Helper()
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"labels": labels, "annotations": annotations}})
	if err != nil {
		w.Fatal(err)
	}
	object := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if err := w.Patch(w.Context(), object, client.RawPatch(types.MergePatchType, patch)); err != nil {
		w.Fatal(err)
	}
}

// TestIssuersOutliveTheirRules tightens the rules while an issuer exists that they forbid then.
func TestIssuersOutliveTheirRules(t *testing.T) {
	w := newTenancy(t, "tenancy: {enabled: true, hosts: [{namespaces: [SHOP], hosts: [tokens.shop.example]}]}")
	issuer := &v1alpha1.TokenIssuer{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.shop, Name: "shop"},
		Spec: v1alpha1.TokenIssuerSpec{
			IssuerURL: "https://tokens.shop.example", Audiences: []string{"shop-api"}, Signing: &v1alpha1.Signing{},
		},
	}
	w.Make(issuer)
	w.helm("upgrade", "tenancy: {enabled: true, hosts: [{namespaces: [SHOP], hosts: [other.example]}]}")
	w.wantClaim(w.shop, "https://tokens.shop.example", false)

	w.change(issuer, func() { issuer.Annotations = map[string]string{"example.com/changed": "yes"} })
	w.change(issuer, func() { issuer.Spec.Audiences = []string{"other-api"} })
	w.change(issuer, func() { issuer.Finalizers = []string{"example.com/wait"} })
	before := issuer.DeepCopy()
	issuer.Status.ActiveKeyID = "some"
	if err := w.Status().Patch(t.Context(), issuer, client.MergeFrom(before)); err != nil {
		t.Errorf("writing the status: %v", err)
	}
	before = issuer.DeepCopy()
	issuer.Spec.IssuerURL = "https://evil.example"
	if err := w.Patch(t.Context(), issuer, client.MergeFrom(before)); err == nil {
		t.Error("the URL of an issuer that exists can be changed")
	}
	issuer = before
	if err := w.Delete(t.Context(), issuer); err != nil {
		t.Errorf("deleting the issuer: %v", err)
	}
	w.change(issuer, func() { issuer.Finalizers = nil })
	if err := w.Get(t.Context(), client.ObjectKeyFromObject(issuer), issuer); !apierrors.IsNotFound(err) {
		t.Errorf("after its finalizer has gone, reading the deleted issuer: %v", err)
	}
}

func (w *tenancy) change(issuer *v1alpha1.TokenIssuer, change func()) {
	w.Helper()
	before := issuer.DeepCopy()
	change()
	if err := w.Patch(w.Context(), issuer, client.MergeFrom(before)); err != nil {
		w.Errorf("updating an issuer that exists: %v", err)
	}
}

// TestRulesOfSeveralReleases installs two releases of one name in two namespaces, each for namespaces of its own.
func TestRulesOfSeveralReleases(t *testing.T) {
	first := newTenancy(t, "tenancy: {enabled: true, hosts: [{namespaces: [SHOP], hosts: [a.example]}]}")
	second := newTenancy(t, "tenancy: {enabled: true, hosts: [{namespaces: [SHOP], hosts: [b.example]}]}")
	first.wantClaim(first.shop, "https://a.example", true)
	first.wantClaim(first.shop, "https://b.example", false, "Helm release keyturn in the namespace "+first.Namespace)
	second.wantClaim(second.shop, "https://b.example", true)
	second.wantClaim(second.shop, "https://a.example", false, "Helm release keyturn in the namespace "+second.Namespace)
	if err := first.claim(first.NewNamespace(), "https://anything.example"); err != nil {
		t.Errorf("a namespace that no release is for is refused: %v", err)
	}
}

// TestMistakesInRules checks that Helm refuses hosts that no URL can have.
func TestMistakesInRules(t *testing.T) {
	for _, host := range []string{
		"https://tokens.shop.example", "tokens.shop.example/a", "Tokens.shop.example", "a.*.example", "**", "*.", "a,b", "a b", "", "a..b",
		"tokens.shop.example.", "x@a.example",
	} {
		file := filepath.Join(t.TempDir(), "values.yaml")
		document := fmt.Sprintf("tenancy: {enabled: true, hosts: [{namespaces: [shop], hosts: [%q]}]}", host)
		if err := os.WriteFile(file, []byte(document), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := helm(t, "template", release, chart, "--values", file); err == nil || !strings.Contains(err.Error(), "tenancy") {
			t.Errorf("the rule %q is answered %v, want an error about tenancy", host, err)
		}
	}
	if _, err := helm(t, "template", release, chart, "--set", "tenancy.enabled=true,tenancy.hosts[0].hosts={a.example}"); err == nil ||
		!strings.Contains(err.Error(), "everyNamespace") {
		t.Errorf("a rule for no namespace is answered %v, want it to name tenancy.everyNamespace", err)
	}
	if found := render(t).all("ValidatingAdmissionPolicy"); len(found) != 0 {
		t.Errorf("without being asked for, there are %d policies", len(found))
	}
}
