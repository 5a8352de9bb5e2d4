package operator

import (
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keyturn/keyturn/api/v1alpha1"
	"github.com/keyturn/keyturn/internal/testenv/testoperator"
)

// sign makes good tokens with what a workload mounts, one for each subject.
func sign(t testing.TB, mounted *corev1.Secret, subjects ...string) []string {
	t.Helper()
	block, _ := pem.Decode(mounted.Data[v1alpha1.DataKeyPEM])
	if block == nil {
		t.Fatalf("the Secret %s holds no PEM", mounted.Name)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	options := (&jose.SignerOptions{}).WithType("at+jwt").WithHeader("kid", string(mounted.Data[v1alpha1.DataKeyID]))
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.SignatureAlgorithm(mounted.Data[v1alpha1.DataAlgorithm]), Key: key}, options)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	tokens := make([]string, len(subjects))
	for i, subject := range subjects {
		tokens[i], err = jwt.Signed(signer).Claims(map[string]any{
			"iss": string(mounted.Data[v1alpha1.DataIssuer]), "aud": "shop-api", "sub": subject, "jti": "token-of-" + subject,
			"iat": now.Unix(), "exp": now.Add(10 * time.Minute).Unix(),
		}).Serialize()
		if err != nil {
			t.Fatal(err)
		}
	}
	return tokens
}

// tokens returns one token of each issuer in the namespaces of the world, signed with the key that is mounted now.
func (w *world) tokens() []string {
	w.Helper()
	var tokens []string
	for _, namespace := range w.namespaces {
		var mounted corev1.SecretList
		err := w.List(w.Context(), &mounted, client.InNamespace(namespace),
			client.MatchingLabels{v1alpha1.LabelComponent: v1alpha1.ComponentSigningKey})
		if err != nil {
			w.Fatalf("listing the mounted Secrets: %v", err)
		}
		for i := range mounted.Items {
			tokens = append(tokens, sign(w.TB, &mounted.Items[i], "alice")...)
		}
	}
	return tokens
}

// wantGood fails the benchmark unless the webhook lets all of them pass.
func wantGood(p *testoperator.Process, https *http.Client, tokens []string) {
	p.Helper()
	for _, token := range tokens {
		p.WantVerdict(https, token, http.StatusOK)
	}
}

// keepAsking verifies the tokens, one after another and over again, until the returned function is called, which fails the
// benchmark if a single one was refused meanwhile.
func keepAsking(p *testoperator.Process, https *http.Client, tokens []string) (stop func()) {
	p.Helper()
	const pause = 10 * time.Millisecond
	done := make(chan struct{})
	var asking sync.WaitGroup
	asked, refused := 0, 0
	asking.Go(func() {
		ticker := time.NewTicker(pause)
		defer ticker.Stop()
		for {
			select {
			case <-done:
				return
			case <-ticker.C:
			}
			if code, header, err := p.Verify(https, tokens[asked%len(tokens)]); err != nil || code != http.StatusOK {
				if refused++; refused == 1 {
					p.Errorf("verdict %d %s, error %v on a good token", code, header.Get("WWW-Authenticate"), err)
				}
			}
			asked++
		}
	})
	return func() {
		p.Helper()
		close(done)
		asking.Wait()
		if refused > 0 || asked == 0 {
			p.Fatalf("%d of %d good tokens were refused", refused, asked)
		}
	}
}
