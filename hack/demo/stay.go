package main

import (
	"context"
	"errors"
	"time"
)

// mountInterval is how often the mounted files are brought up to date while staying. The kubelet takes about a minute.
const mountInterval = time.Second

// stay applies the samples, tells how to use what is there, and keeps the mounted files up to date until the context
// ends.
func (s *stage) stay(ctx context.Context) error {
	for _, arguments := range [][]string{
		{"apply", "-k", "config/samples"},
		{"apply", "-f", "hack/demo/issuer.yaml"},
		{"wait", "--for=condition=Ready", "tokenissuer/" + shop, "tokenissuer/" + express},
	} {
		if _, err := s.kubectl(ctx, arguments...); err != nil {
			return err
		}
	}
	if err := s.mountAll(ctx); err != nil {
		return err
	}
	password, err := s.openPage(ctx)
	if err != nil {
		return err
	}
	s.guide(password)
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(mountInterval):
		}
		// The Secret may be gone for a while, because somebody is trying that out.
		if err := s.mountAll(ctx); errors.Is(err, context.Canceled) {
			return context.Cause(ctx)
		}
	}
}

func (s *stage) mountAll(ctx context.Context) error {
	for _, issuer := range []string{shop, express} {
		if _, err := s.mountSecret(ctx, issuer); err != nil {
			return err
		}
	}
	return nil
}

// guide says what to type in another shell.
func (s *stage) guide(password string) {
	s.say("\nIn another shell:")
	s.exports()
	s.say("\nThen, for example:")
	for _, line := range []string{
		"kubectl get tokenissuers,tokenrevocations,sessions",
		"curl -i -H 'Host: " + shopHost + "' $KEYTURN/.well-known/jwks.json",
		"TOKEN=$(signer -dir $DEMO/shop -sub bob -aud shop-api -client web -scope orders:read)",
		`curl -i -H "Authorization: Bearer $TOKEN" "$KEYTURN/verify?scope=orders:read"`,
		"kubectl annotate tokenissuer express --overwrite keyturn.dev/rotate-requested-at=$(date +%s)",
		"kubectl explain tokenrevocation.spec",
		"curl -s " + s.operator.metricsURL + "/metrics | grep ^keyturn_",
		"tail -f $DEMO/operator.log $DEMO/audit.log",
	} {
		s.command(line)
	}
	s.say("\nThe operator is at " + s.operator.url + ", and its certificate, which is its own authority, in " + s.folder.certificate() + ".")
	s.say("In $DEMO/shop and $DEMO/express the files of the signing-key Secrets are kept, as the kubelet would in a pod.")
	s.say("\nIn a browser: open " + s.page.url + " and log in as carol with the password " + password + ". The certificate is self-signed. " +
		"Access tokens live for a minute there; open a second tab, or delete the session, and watch.")
	s.say("\nCtrl-C stops everything and removes the folder.")
}
