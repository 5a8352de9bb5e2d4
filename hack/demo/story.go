package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keyturn/keyturn/api/v1alpha1"
)

// The issuers of the story, both in the namespace default: shop is that of config/samples, and express that of
// issuer.yaml beside this file. Bob is whom tokens are about.
const (
	namespace = "default"
	shop      = "shop"
	express   = "express"
	shopHost  = "tokens.shop.example"
	bob       = "bob"
)

// story is a stage and what earlier steps leave for later ones.
type story struct {
	*stage
	// token is bob's for the shop.
	token namedToken
	// retiring is signed by the key that the rotation retires, and current by the one that follows it.
	retiring, current namedToken
	// login is carol's, as JSON. first and second are what her login and her first refresh were answered, and access is the
	// access token of the former.
	login         string
	first, second granted
	access        namedToken
}

// exports shows what a shell needs for the commands of the transcript.
func (s *stage) exports() {
	s.command("export DEMO=" + string(s.folder) + " KEYTURN=" + s.operator.url)
	s.command("export PATH=$DEMO/bin:$PATH KUBECONFIG=$DEMO/kubeconfig CURL_CA_BUNDLE=$DEMO/keyturn.crt")
}

// sign has examples/signer sign a token for bob with the mounted files of an issuer.
func (s *stage) sign(ctx context.Context, variable, issuer string) (namedToken, error) {
	s.command(variable + "=$(signer " + strings.Join(signerArguments("$DEMO/"+issuer, issuer, bob), " ") + ")")
	token, err := s.signQuietly(ctx, issuer, bob)
	return namedToken{variable, token}, err
}

func (s *stage) signQuietly(ctx context.Context, issuer, subject string) (string, error) {
	arguments := signerArguments(string(s.folder.mountOf(issuer)), issuer, subject)
	output, err := s.run(ctx, exec.CommandContext(ctx, s.folder.program("signer"), arguments...)) //nolint:gosec // Just built.
	return strings.TrimSpace(output), err
}

func signerArguments(folder, issuer, subject string) []string {
	return []string{"-dir", folder, "-sub", subject, "-aud", issuer + "-api", "-client", "web", "-scope", "orders:read"}
}

// mountSecret brings the mounted files of an issuer up to date, as the kubelet would.
func (s *stage) mountSecret(ctx context.Context, issuer string) (*corev1.Secret, error) {
	secret := &corev1.Secret{}
	name := client.ObjectKey{Namespace: namespace, Name: issuer + "-signing-key"}
	if err := s.controlPlane.client.Get(ctx, name, secret); err != nil {
		return nil, fmt.Errorf("reading Secret %s: %w", name.Name, err)
	}
	return secret, s.folder.mountOf(issuer).update(secret.Data)
}

// waitReady waits until an issuer is Ready, in the transcript too.
func (s *stage) waitReady(ctx context.Context, issuer string) error {
	_, err := s.kubectl(ctx, "wait", "--for=condition=Ready", "tokenissuer/"+issuer)
	return err
}

func (s *stage) issuer(ctx context.Context, name string) (*v1alpha1.TokenIssuer, error) {
	issuer := &v1alpha1.TokenIssuer{}
	if err := s.controlPlane.client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, issuer); err != nil {
		return nil, fmt.Errorf("reading TokenIssuer %s: %w", name, err)
	}
	return issuer, nil
}

// parts decodes the header and the payload of a token, which everybody can who has one.
func (t namedToken) parts() (header, payload string) {
	encoded := strings.Split(t.value, ".")
	decode := func(i int) string {
		if i >= len(encoded) {
			return ""
		}
		decoded, _ := base64.RawURLEncoding.DecodeString(encoded[i]) // what came is shown, and checked
		return string(decoded)
	}
	return decode(0), decode(1)
}

// keyID is the header "kid".
func (t namedToken) keyID() string {
	header, _ := t.parts()
	var parsed struct {
		KeyID string `json:"kid"`
	}
	_ = json.Unmarshal([]byte(header), &parsed) // a token without a key id has none
	return parsed.KeyID
}
