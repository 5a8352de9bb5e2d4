package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/keyturn/keyturn/api/v1alpha1"
)

func (s *story) keyIsCompromised(ctx context.Context) error {
	s.step("The worst case: the key that signs was stolen. It is revoked by its id, and replaced at once.")
	stolen := s.current.keyID()
	if err := s.apply(ctx, `
apiVersion: keyturn.dev/v1alpha1
kind: TokenRevocation
metadata:
  name: stolen-key
spec:
  issuerRef:
    name: express
  keyID: "`+stolen+`"
  reason: the signing key was found in a log`); err != nil {
		return err
	}
	if _, err := s.kubectl(ctx, "wait", "--for=condition=Enforced", "tokenrevocation/stolen-key"); err != nil {
		return err
	}
	if err := s.verify(ctx, "/verify", s.current, keyRevoked); err != nil {
		return err
	}
	jwks, err := s.curl(ctx, question{path: "/issuers/" + namespace + "/" + express + "/.well-known/jwks.json"})
	if err != nil {
		return err
	}
	s.output(string(jwks.body))
	if ids := keyIDs(jwks.body); slices.Contains(ids, stolen) || len(ids) == 0 {
		return &broken{"the stolen key has left the JWKS", "other keys than " + stolen, strings.Join(ids, " ")}
	}
	s.held("401: nothing that the stolen key signed passes any more, and the JWKS does not hold it.")
	return s.workGoesOn(ctx, stolen)
}

// workGoesOn signs with the key that has replaced the stolen one.
func (s *story) workGoesOn(ctx context.Context, stolen string) error {
	if err := eventually(ctx, func() (bool, error) {
		secret, err := s.mountSecret(ctx, express)
		return err == nil && string(secret.Data[v1alpha1.DataKeyID]) != stolen, err
	}); err != nil {
		return fmt.Errorf("waiting for the Secret to hold another key: %w", err)
	}
	token, err := s.sign(ctx, "FRESH", express)
	if err != nil {
		return err
	}
	for _, good := range []namedToken{token, s.retiring} {
		if err := s.verify(ctx, "/verify", good, allowed); err != nil {
			return err
		}
	}
	s.held("The next key signs, and tokens of other keys are as good as before.")
	return nil
}

func (s *story) eventsTellIt(ctx context.Context) error {
	s.step("What happened to the keys is in the events.")
	// Events are written on the side, so the last may be on its way.
	var described string
	if err := eventually(ctx, func() (bool, error) {
		var err error
		described, err = s.quietly(ctx, "describe", "tokenissuer", express)
		return strings.Contains(described, v1alpha1.EventKeyRevoked), err
	}); err != nil {
		return &broken{"the revoked key is among the events", v1alpha1.EventKeyRevoked, described}
	}
	s.command("kubectl describe tokenissuer express | sed -n '/^Events/,$p'")
	_, events, _ := strings.Cut(described, "\nEvents:")
	lines := strings.Split(strings.TrimRight(events, "\n"), "\n")
	s.output("Events:")
	for _, line := range lines[1:] {
		s.output(eventLine(line))
	}
	for _, reason := range []string{v1alpha1.EventKeyCreated, v1alpha1.EventKeyActivated, v1alpha1.EventKeyRetired} {
		if !strings.Contains(events, reason) {
			return &broken{"every step in the life of a key has its event", reason, events}
		}
	}
	s.held("Every step in a key's life, and why it was taken.")
	return nil
}

// eventLine draws the columns of an event together: type, reason, age, and message, without who sent it.
func eventLine(line string) string {
	fields := strings.Fields(line)
	const reason, age, message = 1, 2, 4
	if len(fields) <= message {
		return strings.TrimSpace(line)
	}
	return fmt.Sprintf("%-8s %-13s %-5s %s", fields[0], fields[reason], fields[age], strings.Join(fields[message:], " "))
}

func (s *story) contradictionIsRefused(ctx context.Context) error {
	s.step("A spec that contradicts itself never becomes an object. The refusal is a sentence.")
	said, err := s.refused(ctx, `
apiVersion: keyturn.dev/v1alpha1
kind: TokenIssuer
metadata:
  name: hasty
spec:
  issuerURL: https://tokens.hasty.example
  audiences: [hasty-api]
  signing:
    rotation:
      period: 5m`)
	if err != nil {
		return err
	}
	if sentence := "signing.rotation.period must be at least jwks.maxAge + tokens.clockSkew"; !strings.Contains(said, sentence) {
		return &broken{"the refusal says what is wrong", sentence, said}
	}
	s.held("Refused by the API server itself: there is no admission webhook that could be down.")
	return nil
}
