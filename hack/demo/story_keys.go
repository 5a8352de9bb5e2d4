package main

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/keyturn/keyturn/api/v1alpha1"
)

func (s *story) issuerBecomesReady(ctx context.Context) error {
	s.step("A TokenIssuer needs a URL and its audiences. The operator makes the keys.")
	if _, err := s.kubectl(ctx, "apply", "-k", "config/samples"); err != nil {
		return err
	}
	if err := s.waitReady(ctx, shop); err != nil {
		return err
	}
	if _, err := s.kubectl(ctx, "get", "tokenissuer", shop); err != nil {
		return err
	}
	issuer, err := s.issuer(ctx, shop)
	if err != nil {
		return err
	}
	var states []string
	for _, key := range issuer.Status.Keys {
		states = append(states, string(key.State))
	}
	if err := expect("there is a key that signs and one that will follow it", "Active Next", strings.Join(states, " ")); err != nil {
		return err
	}
	if err := expect("the next key takes over after the default period", 30*24*time.Hour,
		issuer.Status.NextRotation.Sub(issuer.Status.LastRotation.Time)); err != nil {
		return err
	}
	s.held("One key signs, and the next is already published: in 30 days it takes over.")
	return nil
}

func (s *story) secretIsMounted(ctx context.Context) error {
	s.step("A workload that signs mounts one Secret.")
	output, err := s.kubectl(ctx, "describe", "secret", "shop-signing-key")
	if err != nil {
		return err
	}
	for _, name := range []string{
		v1alpha1.DataKeyPEM, v1alpha1.DataKeyJWK, v1alpha1.DataKeyID, v1alpha1.DataAlgorithm, v1alpha1.DataIssuer, v1alpha1.DataMaxLifetime,
	} {
		if !strings.Contains(output, "\n"+name+": ") {
			return &broken{"the Secret has the files that a signer needs", name, output}
		}
	}
	if _, err := s.mountSecret(ctx, shop); err != nil {
		return err
	}
	s.held("There is no kubelet here, so the demo lays the files out in $DEMO/shop, as the kubelet would.")
	return nil
}

func (s *story) keysArePublished(ctx context.Context) error {
	s.step("A service that verifies by itself gets the public keys over HTTPS, at the issuer's own host.")
	published, err := s.curl(ctx, question{path: "/.well-known/jwks.json", host: shopHost}, "Content-Type", "Cache-Control", "ETag")
	if err != nil {
		return err
	}
	s.output(string(published.body))
	if err := expect("the JWKS is served", http.StatusOK, published.status); err != nil {
		return err
	}
	if strings.Contains(string(published.body), `"d":`) {
		return &broken{"the JWKS holds public keys only", "no member d, the private half of a key", "one"}
	}
	s.note("The same is in a ConfigMap, for who may not reach the service:")
	config, err := s.kubectl(ctx, "get", "configmap", "shop-jwks", "-o", `jsonpath={.data.jwks\.json}`)
	if err != nil {
		return err
	}
	if err := expect("the ConfigMap holds the same JWKS as the HTTPS server", string(published.body), config); err != nil {
		return err
	}
	issuer, err := s.issuer(ctx, shop)
	if err != nil {
		return err
	}
	if !slices.Contains(keyIDs(published.body), issuer.Status.ActiveKeyID) {
		return &broken{"the active key is published", issuer.Status.ActiveKeyID, string(published.body)}
	}
	s.held("Both hold the same two public keys. A copy may be kept for ten minutes.")
	return nil
}
