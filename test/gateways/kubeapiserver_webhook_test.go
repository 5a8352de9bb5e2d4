package gateways

import (
	"syscall"
	"testing"
	"time"
)

// maxRevocationDelay is what docs/gateways.md promises with its flags: a second, and ten that nothing can change. The rest is
// for a machine that is busy.
const maxRevocationDelay = 11*time.Second + 4*time.Second

func TestTokenWebhook(t *testing.T) {
	const section = "kube-apiserver: token webhook"
	k := newKeyturn(t, 10*time.Minute)
	configuration := documented(t, section, "yaml", "https://10.96.0.42/", "https://"+k.keyturn.HTTPS+"/",
		"/etc/kubernetes/keyturn-ca.crt", k.keyturn.Certificate)
	k.startServer(section, "/etc/kubernetes/keyturn-webhook.yaml", written(t, "webhook.yaml", configuration))

	lost, unseen := k.token(claims{"sub": "alice", "jti": "lost"}), k.token(claims{"sub": "erin", "jti": "unseen"})
	k.accepted(k.token(nil), "carol")
	k.accepted(lost, "alice")
	k.refusesWhatIsNotGood()
	k.authorizes(k.token(nil))

	k.revoke("unseen", unseen)
	k.refused("a token that was revoked before the API server saw it", unseen)
	k.accepted(lost, "alice") // it is kept from now on
	sent := k.revoke("lost", lost)
	for {
		if _, err := k.whoami(lost); err != nil {
			break
		}
		if time.Since(sent) > maxRevocationDelay {
			t.Fatalf("the revoked token is accepted %s after its revocation, want at most %s", time.Since(sent), maxRevocationDelay)
		}
	}
	t.Logf("the API server refused the revoked token %s after its revocation was sent", time.Since(sent).Round(10*time.Millisecond))
	k.refused("the revoked token", lost)
	k.accepted(k.token(claims{"sub": "bob"}), "bob")

	k.keyturn.Signal(syscall.SIGKILL)
	<-k.keyturn.Ended
	began := time.Now()
	k.refused("a good token without Keyturn", k.token(claims{"sub": "dora"}))
	t.Logf("without Keyturn the API server took %s to refuse", time.Since(began).Round(10*time.Millisecond))
}
