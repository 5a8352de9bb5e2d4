package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func (s *story) tokenIsSigned(ctx context.Context) error {
	s.step("The workload signs a token with the mounted files: here it is examples/signer, as a process of its own.")
	var err error
	if s.token, err = s.sign(ctx, "TOKEN", shop); err != nil {
		return err
	}
	header, payload := s.token.parts()
	s.note("The token says, to everybody who has it:")
	s.output(header)
	s.output(payload)
	issuer, err := s.issuer(ctx, shop)
	if err != nil {
		return err
	}
	if err := expect("the token names the active key", issuer.Status.ActiveKeyID, s.token.keyID()); err != nil {
		return err
	}
	s.held("It names the active key, and lives for 15 minutes.")
	return nil
}

func (s *story) tokenIsVerified(ctx context.Context) error {
	s.step("A gateway asks whether the token is good. The answer says whose it is.")
	if err := s.verify(ctx, "/verify?scope=orders:read", s.token, allowed); err != nil {
		return err
	}
	s.held("200: the request may pass, and the gateway hands these headers to the application.")
	return nil
}

func (s *story) tokenIsRefused(ctx context.Context) error {
	s.step("A good token is not good for everything.")
	if err := s.verify(ctx, "/verify?audience=billing-api", s.token, elsewhere); err != nil {
		return err
	}
	s.held("401: it is meant for another application.")
	if err := s.verify(ctx, "/verify?scope=orders:write", s.token, insufficient); err != nil {
		return err
	}
	s.held("403: it may read orders, and not write them.")
	return nil
}

func (s *story) apiServerAsks(ctx context.Context) error {
	s.step("A kube-apiserver asks with a TokenReview, and gets a user that no other issuer can name.")
	review := authenticationv1.TokenReview{
		TypeMeta: metav1.TypeMeta{APIVersion: authenticationv1.SchemeGroupVersion.String(), Kind: "TokenReview"},
		Spec:     authenticationv1.TokenReviewSpec{Token: s.token.value},
	}
	body, err := json.Marshal(review)
	if err != nil {
		return fmt.Errorf("writing a TokenReview: %w", err)
	}
	s.command(`REVIEW='{"apiVersion":"authentication.k8s.io/v1","kind":"TokenReview",` + "\n" + `  "spec":{"token":"'$TOKEN'"}}'`)
	a, err := s.curl(ctx, question{path: "/tokenreview", body: string(body), bodyShown: "$REVIEW"}, "Content-Type")
	if err != nil {
		return err
	}
	s.output(string(a.body))
	if err := expect("the TokenReview is answered", http.StatusOK, a.status); err != nil {
		return err
	}
	var answered authenticationv1.TokenReview
	if err := json.Unmarshal(a.body, &answered); err != nil {
		return fmt.Errorf("reading the answered TokenReview: %w", err)
	}
	if err := expect("the token is authenticated as", "https://"+shopHost+"#"+bob, answered.Status.User.Username); err != nil {
		return err
	}
	s.held("Authenticated, as https://" + shopHost + "#bob.")
	return nil
}
