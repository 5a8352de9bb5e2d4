package charts

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/keyturn/keyturn/internal/testenv"
	"github.com/keyturn/keyturn/internal/testenv/testoperator"
)

// TestLifeOfARelease installs, upgrades and uninstalls a release confined to one namespace in a real API server, and
// runs the operator with the flags and rights that it gives.
func TestLifeOfARelease(t *testing.T) {
	a := testoperator.NewAdministrator(t)
	watched, other := a.NewNamespace(), a.NewNamespace()
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(kubeconfig, testenv.Environment(t).KubeConfig, 0o600); err != nil {
		t.Fatal(err)
	}
	// The custom resources are there already, without a release that they belong to.
	arguments := []string{
		chart, "--namespace", a.Namespace, "--kubeconfig", kubeconfig, "--take-ownership",
		"--set", "watchNamespaces={" + watched + "}",
	}
	if _, err := helm(t, append([]string{"install", release}, arguments...)...); err != nil {
		t.Fatal(err)
	}

	var deployment appsv1.Deployment
	deploymentKey := client.ObjectKey{Namespace: a.Namespace, Name: "keyturn-controller-manager"}
	if err := a.Get(t.Context(), deploymentKey, &deployment); err != nil {
		t.Fatal(err)
	}
	pod := deployment.Spec.Template.Spec
	flags := slices.Concat(pod.Containers[0].Args, []string{"--tls-secret-namespace=" + a.Namespace})
	account := accountConfig(t, a.Namespace, pod.ServiceAccountName)
	p := testoperator.Run(a, account, flags...)
	p.WaitReady()
	a.WaitReady(a.NewIssuer(watched, "shop"))
	certificate := a.Secret(a.Namespace, "keyturn-tls")
	if certificate.Type != corev1.SecretTypeTLS || len(certificate.Data["ca.crt"]) == 0 {
		t.Errorf("the Secret of the serving certificate has the type %s and no ca.crt", certificate.Type)
	}
	scraped := p.Scrape()
	for _, metric := range []string{
		"keyturn_synced 1", `leader_election_master_status{name="keyturn.dev"} 1`, `keyturn_keys{issuer="` + watched + `/shop"`,
	} {
		if !strings.Contains(scraped, metric) {
			t.Errorf("the operator has no metric %s, on which alerts are built", metric)
		}
	}
	wantForbidden(t, account, other)
	issuer := a.NewIssuer(other, "shop")

	if _, err := helm(t, append([]string{"upgrade", release, "--set", "replicas=3"}, arguments...)...); err != nil {
		t.Fatal(err)
	}
	if err := a.Get(t.Context(), deploymentKey, &deployment); err != nil || *deployment.Spec.Replicas != 3 {
		t.Errorf("after the upgrade there are %d replicas, error %v", *deployment.Spec.Replicas, err)
	}
	if _, err := helm(t, "uninstall", release, "--namespace", a.Namespace, "--kubeconfig", kubeconfig); err != nil {
		t.Fatal(err)
	}
	if err := a.Get(t.Context(), deploymentKey, &deployment); !apierrors.IsNotFound(err) {
		t.Errorf("after the release is gone, reading its Deployment: %v", err)
	}
	if err := a.Get(t.Context(), client.ObjectKeyFromObject(issuer), issuer); err != nil {
		t.Errorf("after the release is gone, the issuers must be there: %v", err)
	}
}

// accountConfig returns a kubeconfig of a ServiceAccount.
func accountConfig(t *testing.T, namespace, name string) []byte {
	t.Helper()
	user := envtest.User{
		Name:   "system:serviceaccount:" + namespace + ":" + name,
		Groups: []string{"system:serviceaccounts", "system:serviceaccounts:" + namespace, "system:authenticated"},
	}
	added, err := testenv.Environment(t).AddUser(user, nil)
	if err != nil {
		t.Fatal(err)
	}
	config, err := added.KubeConfig()
	if err != nil {
		t.Fatal(err)
	}
	return config
}

// wantForbidden checks that somebody can read no Secrets in a namespace, and none in all namespaces at once.
func wantForbidden(t *testing.T, kubeconfig []byte, namespace string) {
	t.Helper()
	config, err := clientcmd.RESTConfigFromKubeConfig(kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.New(config, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, in := range []string{namespace, ""} {
		if err := c.List(t.Context(), &corev1.SecretList{}, client.InNamespace(in)); !apierrors.IsForbidden(err) {
			t.Errorf("reading the Secrets of the namespace %q: %v, want it forbidden", in, err)
		}
	}
}
