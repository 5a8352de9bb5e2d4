package gateways

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/keyturn/keyturn/api/v1alpha1"
	"github.com/keyturn/keyturn/internal/testenv/testoperator"
)

func TestStructuredAuthentication(t *testing.T) {
	for name, c := range map[string]struct {
		discovery func(*kube) string
		// maxAge is jwks.maxAge. Within 30 seconds of its end the API server fetches the keys when it meets one that it does not
		// know, and before not.
		maxAge  time.Duration
		fetches bool
	}{
		"discovery at the issuer's URL": {
			discovery: func(*kube) string { return "" },
			maxAge:    30 * time.Second, fetches: true,
		},
		"discovery at the service": {
			discovery: func(k *kube) string {
				return "\n      discoveryURL: https://" + k.keyturn.HTTPS + "/issuers/" + k.Namespace + "/kube/.well-known/openid-configuration"
			},
			maxAge: 10 * time.Minute, fetches: false,
		},
	} {
		t.Run(name, func(t *testing.T) {
			k := newKeyturn(t, c.maxAge)
			k.startStructured(c.discovery(k))
			first := k.mounted()
			testoperator.Eventually(t, "the API server has read the keys", func() error {
				_, err := k.whoami(k.token(nil))
				return err
			})
			k.accepted(k.token(nil), "carol")
			k.refusesWhatIsNotGood()
			k.refused("a token that lives for longer than what is allowed", k.token(claims{"exp": time.Now().Add(time.Hour).Unix()}))
			k.authorizes(k.token(nil))

			lost := k.token(claims{"sub": "alice", "jti": "lost"})
			k.revoke("lost", lost)
			k.accepted(lost, "alice") // nobody asks Keyturn

			k.followsKeys(first, c.fetches)
		})
	}
}

// startStructured starts the API server with the section's configuration, and what else belongs to the issuer.
func (k *kube) startStructured(discovery string) {
	k.Helper()
	const section = "kube-apiserver: structured authentication"
	authority, err := os.ReadFile(k.keyturn.Certificate)
	if err != nil {
		k.Fatal(err)
	}
	indented := strings.ReplaceAll(strings.TrimSpace(string(authority)), "\n", "\n        ")
	configuration := documented(k.TB, section, "yaml", "https://tokens.kube.example", k.issuer.Spec.IssuerURL,
		"-----BEGIN CERTIFICATE-----\n        (keyturn-ca.crt)\n        -----END CERTIFICATE-----", indented,
		"url: "+k.issuer.Spec.IssuerURL, "url: "+k.issuer.Spec.IssuerURL+discovery)
	k.startServer(section, "/etc/kubernetes/keyturn-authentication.yaml", written(k.TB, "authentication.yaml", configuration))
}

// followsKeys exchanges the key twice. The API server has read the second together with the first; the third it has to fetch,
// and only then it learns that the first has gone.
func (k *kube) followsKeys(first *corev1.Secret, fetches bool) {
	k.Helper()
	ofFirst := func(subject string) string { return sign(k.TB, first, k.claims(claims{"sub": subject})) }
	second := k.exchange(first)
	k.accepted(k.token(claims{"sub": "dora"}), "dora")
	k.accepted(ofFirst("erin"), "erin")
	k.exchange(second)
	if !fetches {
		k.refused("a token of a key that is younger than the API server's copy", k.token(claims{"sub": "frank"}))
		k.accepted(ofFirst("grace"), "grace")
		return
	}
	k.accepted(k.token(claims{"sub": "frank"}), "frank")
	k.refused("a token of the key that has gone", ofFirst("grace"))
}

// exchange revokes the key that signs, and returns the Secret with the next one.
func (k *kube) exchange(mounted *corev1.Secret) *corev1.Secret {
	k.Helper()
	id := string(mounted.Data[v1alpha1.DataKeyID])
	k.Make(&v1alpha1.TokenRevocation{
		ObjectMeta: metav1.ObjectMeta{Namespace: k.Namespace, GenerateName: "stolen-"},
		Spec:       v1alpha1.TokenRevocationSpec{IssuerRef: v1alpha1.IssuerReference{Name: k.issuer.Name}, KeyID: id},
	})
	next := mounted
	testoperator.Eventually(k.TB, "another mounted key", func() error {
		if next = k.mounted(); string(next.Data[v1alpha1.DataKeyID]) == id {
			return errors.New("the revoked one is still mounted")
		}
		return nil
	})
	k.keyturn.WantVerdict(k.keyturn.Client(), k.token(nil), 200)
	return next
}
