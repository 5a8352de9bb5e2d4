package testoperator

import (
	"crypto/x509"
	"encoding/pem"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	corev1 "k8s.io/api/core/v1"

	"github.com/keyturn/keyturn/api/v1alpha1"
)

// Sign makes good tokens with what a workload mounts, one for each subject. They live for ten minutes.
func Sign(t testing.TB, mounted *corev1.Secret, subjects ...string) []string {
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
