package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/keyturn/keyturn/api/v1alpha1"
)

// furtherRevocations is how many are measured.
const furtherRevocations = 20

func (s *story) subjectIsRevoked(ctx context.Context) error {
	s.step("Bob is logged out everywhere. A revocation denies what was issued to him before it.")
	if err := nextSecond(ctx, time.Now()); err != nil {
		return err
	}
	if err := s.apply(ctx, `
apiVersion: keyturn.dev/v1alpha1
kind: TokenRevocation
metadata:
  name: bob-everywhere
spec:
  issuerRef:
    name: shop
  subject: bob
  reason: bob has lost his phone`); err != nil {
		return err
	}
	returned := time.Now()
	took, err := s.untilDenied(ctx, s.token, returned)
	if err != nil {
		return err
	}
	if err := s.verify(ctx, "/verify", s.token, revoked); err != nil {
		return err
	}
	s.held(fmt.Sprintf("401, %s after kubectl had returned, although the signature is good and the token has not expired.", milliseconds(took)))
	if _, err := s.kubectl(ctx, "wait", "--for=condition=Enforced", "tokenrevocation/bob-everywhere"); err != nil {
		return err
	}
	_, err = s.kubectl(ctx, "get", "tokenrevocations")
	return err
}

func (s *story) revocationsAreMeasured(ctx context.Context) error {
	s.step(fmt.Sprintf("How long does a revocation take? %d more, each of another subject, created one after another.", furtherRevocations))
	tokens := make([]namedToken, furtherRevocations)
	for i := range tokens {
		var err error
		if tokens[i].value, err = s.signQuietly(ctx, shop, subject(i)); err != nil {
			return err
		}
	}
	if err := nextSecond(ctx, time.Now()); err != nil {
		return err
	}
	var whole, apiServer []time.Duration
	for i, token := range tokens {
		a, err := s.https.ask(ctx, question{path: "/verify", token: token})
		if err != nil {
			return err
		}
		if err := expect("the token is good until it is revoked", allowed, a.judgment()); err != nil {
			return err
		}
		sent := time.Now()
		if err := s.controlPlane.client.Create(ctx, &v1alpha1.TokenRevocation{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: subject(i)},
			Spec:       v1alpha1.TokenRevocationSpec{IssuerRef: v1alpha1.IssuerReference{Name: shop}, Subject: subject(i)},
		}); err != nil {
			return fmt.Errorf("creating a TokenRevocation: %w", err)
		}
		apiServer = append(apiServer, time.Since(sent))
		took, err := s.untilDenied(ctx, token, sent)
		if err != nil {
			return err
		}
		whole = append(whole, took)
	}
	s.note("From sending the TokenRevocation to the API server until the first 401, asking without a pause:")
	s.output(fmt.Sprintf("median %8s   worst %8s", milliseconds(median(whole)), milliseconds(slices.Max(whole))))
	s.note("Of that, until the API server itself had answered:")
	s.output(fmt.Sprintf("median %8s   worst %8s", milliseconds(median(apiServer)), milliseconds(slices.Max(apiServer))))
	s.held("All are denied. The rest of the time is the watch that brings the object to the operator.")
	return nil
}

func (s *story) subjectComesBack(ctx context.Context) error {
	s.step("Bob logs in again. What is issued after the revocation is good, at once.")
	token, err := s.sign(ctx, "AGAIN", shop)
	if err != nil {
		return err
	}
	if err := s.verify(ctx, "/verify", token, allowed); err != nil {
		return err
	}
	if err := s.verify(ctx, "/verify", s.token, revoked); err != nil {
		return err
	}
	s.held("The new token passes, the old one does not. At EXPIRES, when the last old one has expired, the revocation deletes itself.")
	return nil
}

// untilDenied asks without a pause until the token is denied because it was revoked, and returns how long after the
// moment given the first such answer was there.
func (s *story) untilDenied(ctx context.Context, token namedToken, since time.Time) (time.Duration, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, &broken{"a revocation is enforced", revoked.String(), "still " + allowed.String()})
	defer cancel()
	for {
		a, err := s.https.ask(ctx, question{path: "/verify", token: token})
		if err != nil {
			return 0, err
		}
		took := time.Since(since)
		switch a.judgment() {
		case revoked:
			return took, nil
		case allowed:
		default:
			return 0, expect("the answer to /verify for a token that is being revoked", revoked, a.judgment())
		}
	}
}

func subject(i int) string { return fmt.Sprintf("user-%d", i+1) }

// median is the upper one where there are two.
func median(durations []time.Duration) time.Duration {
	return slices.Sorted(slices.Values(durations))[len(durations)/2]
}

func milliseconds(d time.Duration) string {
	return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000)
}
