package gateways

import (
	"maps"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	corev1 "k8s.io/api/core/v1"

	"github.com/keyturn/keyturn/api/v1alpha1"
)

// claims are those in which a token differs from a good one. A nil value leaves a claim out.
type claims map[string]any

// sign makes a token as a workload does with what it mounts: for shop-api and carol, with a life of ten minutes.
func sign(t testing.TB, mounted *corev1.Secret, different claims) string {
	t.Helper()
	var key jose.JSONWebKey
	if err := key.UnmarshalJSON(mounted.Data[v1alpha1.DataKeyJWK]); err != nil {
		t.Fatal(err)
	}
	options := (&jose.SignerOptions{}).WithType("at+jwt").WithHeader("kid", key.KeyID)
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.SignatureAlgorithm(key.Algorithm), Key: key.Key}, options)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	all := claims{
		"iss": string(mounted.Data[v1alpha1.DataIssuer]), "aud": "shop-api", "sub": "carol", "jti": "token-of-carol",
		"scope": "orders:read", "iat": now.Unix(), "exp": now.Add(10 * time.Minute).Unix(),
	}
	maps.Copy(all, different)
	maps.DeleteFunc(all, func(_ string, value any) bool { return value == nil })
	raw, err := jwt.Signed(signer).Claims(map[string]any(all)).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}
