package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keyturn/keyturn/api/v1alpha1"
	"github.com/keyturn/keyturn/internal/issuers"
	"github.com/keyturn/keyturn/internal/keyring"
)

// keyTable prints the keys of an issuer, one a line.
const keyTable = `jsonpath={range .status.keys[*]}{.state} {.id}{"\n"}{end}`

func (s *story) keyRotates(ctx context.Context) error {
	s.step("A key rotates when its period is over, or when somebody asks. No token that was good turns bad.")
	s.note("The next key may sign only when no cached JWKS lacks it: jwks.maxAge + tokens.clockSkew after it was published, " +
		"ten and a half minutes in the sample. So here is a second issuer, with 2s + 1s.")
	before, err := s.secondIssuer(ctx)
	if err != nil {
		return err
	}
	asked := time.Now()
	value := asked.UTC().Format(time.RFC3339)
	if _, err := s.kubectl(ctx, "annotate", "tokenissuer", express, "keyturn.dev/rotate-requested-at="+value); err != nil {
		return err
	}
	if _, err := s.kubectl(ctx, "wait", "--for=jsonpath={.status.handledRotateRequest}="+value, "tokenissuer/"+express); err != nil {
		return err
	}
	took := time.Since(asked)
	if _, err := s.kubectl(ctx, "get", "tokenissuer", express); err != nil {
		return err
	}
	if _, err := s.kubectl(ctx, "get", "ti", express, "-o", keyTable); err != nil {
		return err
	}
	after, err := s.issuer(ctx, express)
	if err != nil {
		return err
	}
	if after.Status.ActiveKeyID == before || len(after.Status.Keys) != 3 {
		return &broken{"another key is active, the old one retires, and a new one is next", "three keys, the active one not " + before,
			fmt.Sprintf("%d keys, the active one %s", len(after.Status.Keys), after.Status.ActiveKeyID)}
	}
	if err := s.privateHalfIsGone(ctx, before); err != nil {
		return err
	}
	s.held("Rotated " + seconds(took) + " after it was asked for. The old key retires: it verifies, and its private half is destroyed.")
	return s.bothKeysVerify(ctx, after.Status.ActiveKeyID)
}

// privateHalfIsGone looks into the ring, which none but the operator and administrators can read.
func (s *story) privateHalfIsGone(ctx context.Context, keyID string) error {
	secret := &corev1.Secret{}
	if err := s.controlPlane.client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: issuers.RingSecretName(express)}, secret); err != nil {
		return fmt.Errorf("reading the ring of %s: %w", express, err)
	}
	ring, err := keyring.Decode(secret.Data[v1alpha1.DataRing])
	if err != nil {
		return fmt.Errorf("reading the ring of %s: %w", express, err)
	}
	key := ring.Key(keyID)
	return expect("the ring holds the public half of the retiring key, and only that", true, key != nil && key.JWK.IsPublic())
}

// secondIssuer brings up express, with a token of its first key, and returns that key's id.
func (s *story) secondIssuer(ctx context.Context) (keyID string, err error) {
	if _, err := s.kubectl(ctx, "apply", "-f", "hack/demo/issuer.yaml"); err != nil {
		return "", err
	}
	if err := s.waitReady(ctx, express); err != nil {
		return "", err
	}
	if _, err := s.mountSecret(ctx, express); err != nil {
		return "", err
	}
	if s.retiring, err = s.sign(ctx, "OLD", express); err != nil {
		return "", err
	}
	if _, err := s.kubectl(ctx, "get", "tokenissuer", express); err != nil {
		return "", err
	}
	issuer, err := s.issuer(ctx, express)
	if err != nil {
		return "", err
	}
	return issuer.Status.ActiveKeyID, expect("the token is signed by the active key", issuer.Status.ActiveKeyID, s.retiring.keyID())
}

func (s *story) bothKeysVerify(ctx context.Context, active string) error {
	if _, err := s.mountSecret(ctx, express); err != nil {
		return err
	}
	var err error
	if s.current, err = s.sign(ctx, "NEW", express); err != nil {
		return err
	}
	if err := expect("the workload signs with the new key", active, s.current.keyID()); err != nil {
		return err
	}
	for _, token := range []namedToken{s.retiring, s.current} {
		if err := s.verify(ctx, "/verify", token, allowed); err != nil {
			return err
		}
	}
	s.held("Both are good: the token of the old key, and that of the new one. Nothing was restarted.")
	return nil
}

// keyIDs are those of a JWKS.
func keyIDs(jwks []byte) []string {
	var set struct {
		Keys []struct {
			ID string `json:"kid"`
		} `json:"keys"`
	}
	_ = json.Unmarshal(jwks, &set) // what is no JWKS holds no keys
	var ids []string
	for _, key := range set.Keys {
		ids = append(ids, key.ID)
	}
	return ids
}
