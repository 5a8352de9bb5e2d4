package gateways

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/keyturn/keyturn/api/v1alpha1"
	"github.com/keyturn/keyturn/internal/testenv"
	"github.com/keyturn/keyturn/internal/testenv/testoperator"
)

// kubernetesAudience is that of the API server of docs/gateways.md: what kubeadm makes of it.
const kubernetesAudience = "https://kubernetes.default.svc.cluster.local"

// kube is a kube-apiserver that asks Keyturn who somebody is.
type kube struct {
	*testoperator.Administrator
	keyturn *testoperator.Process
	issuer  *v1alpha1.TokenIssuer
	server  *envtest.APIServer
	// authority is the file with which kubectl trusts it.
	authority, kubectl string
}

// newKeyturn starts Keyturn with an issuer for people who use kubectl, which is reachable at its own URL.
func newKeyturn(t *testing.T, maxAge time.Duration) *kube {
	t.Helper()
	a := testoperator.NewAdministrator(t)
	k := &kube{Administrator: a, keyturn: testoperator.Run(a, a.User(), "--tls-hosts="+serviceName)}
	k.keyturn.WaitReady()
	k.issuer = &v1alpha1.TokenIssuer{
		ObjectMeta: metav1.ObjectMeta{Namespace: a.Namespace, Name: "kube"},
		Spec: v1alpha1.TokenIssuerSpec{
			IssuerURL: "https://" + k.keyturn.HTTPS + "/kube", Audiences: []string{kubernetesAudience}, Signing: &v1alpha1.Signing{},
			JWKS: v1alpha1.JWKSPolicy{MaxAge: metav1.Duration{Duration: maxAge}},
		},
	}
	a.Make(k.issuer)
	a.WaitReady(k.issuer)
	return k
}

// startServer starts a kube-apiserver of the test's own on the etcd of the package's control plane, so that it has the same
// objects and other flags: those of the section, with these files in place of those on the page.
func (k *kube) startServer(section string, files ...string) {
	k.Helper()
	environment := testenv.Environment(k.TB)
	k.kubectl = environment.ControlPlane.KubectlPath
	k.server = &envtest.APIServer{
		EtcdURL: environment.ControlPlane.Etcd.URL, Path: environment.ControlPlane.GetAPIServer().Path,
		StartTimeout: 2 * time.Minute, StopTimeout: time.Minute,
	}
	arguments := k.server.Configure().Set("api-audiences", kubernetesAudience)
	for flag := range strings.Lines(documented(k.TB, section, "text", files...)) {
		name, value, found := strings.Cut(strings.TrimPrefix(strings.TrimSpace(flag), "--"), "=")
		if !found {
			k.Fatalf("%q is no flag with a value", flag)
		}
		arguments.Set(name, value)
	}
	if err := k.server.Start(); err != nil {
		k.Fatalf("starting a kube-apiserver with what docs/gateways.md says of %s: %v", section, err)
	}
	k.Cleanup(func() {
		if err := k.server.Stop(); err != nil {
			k.Errorf("stopping kube-apiserver: %v", err)
		}
	})
	k.authority = written(k.TB, "kube-apiserver.crt", string(k.server.SecureServing.CA))
}

// token makes one for the API server, signed with the key that workloads mount now.
func (k *kube) token(different claims) string {
	k.Helper()
	return sign(k.TB, k.mounted(), k.claims(different))
}

func (k *kube) mounted() *corev1.Secret {
	k.Helper()
	return k.Secret(k.Namespace, "kube-signing-key")
}

func (k *kube) claims(different claims) claims {
	all := claims{"aud": kubernetesAudience, "groups": []string{"auditors"}, "scope": nil}
	for name, value := range different {
		all[name] = value
	}
	return all
}

// run is kubectl with a token and nothing else.
func (k *kube) run(token string, arguments ...string) (string, error) {
	k.Helper()
	command := exec.CommandContext(k.Context(), k.kubectl, append([]string{
		"--server=" + k.server.SecureServing.URL("https", "").String(), "--certificate-authority=" + k.authority, "--token=" + token,
		"--cache-dir=" + k.TempDir(),
	}, arguments...)...)
	command.Env = append(os.Environ(), "KUBECONFIG="+filepath.Join(k.TempDir(), "none"))
	output, err := command.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("kubectl %s: %w: %s", strings.Join(arguments, " "), err, output)
	}
	return string(output), nil
}

// whoami asks the API server whose token it is.
func (k *kube) whoami(token string) (authenticationv1.UserInfo, error) {
	k.Helper()
	output, err := k.run(token, "auth", "whoami", "--output=json")
	if err != nil {
		return authenticationv1.UserInfo{}, err
	}
	var review authenticationv1.SelfSubjectReview
	if err := json.Unmarshal([]byte(output), &review); err != nil {
		k.Fatalf("reading what kubectl auth whoami says: %v", err)
	}
	return review.Status.UserInfo, nil
}

// accepted checks that the API server knows whose token it is: user and group carry the issuer's URL in front.
func (k *kube) accepted(token, subject string) {
	k.Helper()
	user, err := k.whoami(token)
	if err != nil {
		k.Errorf("the token of %s: %v", subject, err)
		return
	}
	prefix := k.issuer.Spec.IssuerURL + "#"
	if user.Username != prefix+subject || !slices.Contains(user.Groups, prefix+"auditors") {
		k.Errorf("the token of %s makes the user %s in the groups %s, want %s in %s", subject, user.Username, user.Groups, prefix+subject, prefix+"auditors")
	}
}

// unauthorized is what kubectl says to a 401.
const unauthorized = "Unauthorized"

// refused checks that the API server does not know whose token it is.
func (k *kube) refused(what, token string) {
	k.Helper()
	user, err := k.whoami(token)
	if err == nil {
		k.Errorf("%s is accepted as that of %s in the groups %s", what, user.Username, user.Groups)
	} else if !strings.Contains(strings.ToLower(err.Error()), strings.ToLower(unauthorized)) {
		k.Errorf("%s: %v, want it to say %s", what, err, unauthorized)
	}
}

// refusesWhatIsNotGood checks tokens that no configuration of ours may accept.
func (k *kube) refusesWhatIsNotGood() {
	k.Helper()
	past := time.Now().Add(-time.Hour)
	k.refused("an expired token", k.token(claims{"iat": past.Unix(), "exp": past.Add(10 * time.Minute).Unix()}))
	k.refused("a token for another audience", k.token(claims{"aud": "shop-api"}))
	k.refused("a token of another issuer", k.token(claims{"iss": "https://elsewhere.example"}))
	signed := k.token(nil)
	k.refused("a token with another signature", signed[:strings.LastIndex(signed, ".")+1]+strings.Repeat("A", 86))
}

// authorizes checks that RBAC works for the group of a token, and for nobody without it.
func (k *kube) authorizes(token string) {
	k.Helper()
	get := []string{"get", "configmaps", "--namespace=" + k.Namespace, "--output=name"}
	if _, err := k.run(token, get...); err == nil || !strings.Contains(err.Error(), "Forbidden") {
		k.Errorf("before RBAC allows it: %v, want Forbidden", err)
	}
	meta := metav1.ObjectMeta{Namespace: k.Namespace, Name: "auditors"}
	k.Make(&rbacv1.Role{ObjectMeta: meta, Rules: []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"configmaps"}, Verbs: []string{"list"}}}})
	k.Make(&rbacv1.RoleBinding{
		ObjectMeta: meta, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: meta.Name},
		Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.GroupKind, Name: k.issuer.Spec.IssuerURL + "#auditors"}},
	})
	testoperator.Eventually(k.TB, "RBAC allows it", func() error {
		output, err := k.run(token, get...)
		if err == nil && !strings.Contains(output, "configmap/kube-jwks") {
			k.Fatalf("kubectl get configmaps says %q, want the JWKS in it", output)
		}
		return err
	})
	if _, err := k.run(k.token(claims{"sub": "bob", "groups": nil}), get...); err == nil || !strings.Contains(err.Error(), "Forbidden") {
		k.Errorf("bob, who is in no group: %v, want Forbidden", err)
	}
}

// revoke revokes one token and waits until Keyturn denies it.
func (k *kube) revoke(id, token string) time.Time {
	k.Helper()
	sent := time.Now()
	k.Make(&v1alpha1.TokenRevocation{
		ObjectMeta: metav1.ObjectMeta{Namespace: k.Namespace, Name: id},
		Spec:       v1alpha1.TokenRevocationSpec{IssuerRef: v1alpha1.IssuerReference{Name: k.issuer.Name}, TokenID: id},
	})
	k.keyturn.WantVerdict(k.keyturn.Client(), token, 401)
	return sent
}
