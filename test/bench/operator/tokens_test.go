package operator

import (
	"net/http"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keyturn/keyturn/api/v1alpha1"
	"github.com/keyturn/keyturn/internal/testenv/testoperator"
)

// tokens returns one token of each issuer in the namespaces of the world, signed with the key that is mounted now.
func (w *world) tokens() []string {
	w.Helper()
	var tokens []string
	for _, namespace := range w.namespaces {
		var mounted corev1.SecretList
		err := w.List(w.Context(), &mounted, client.InNamespace(namespace),
			client.MatchingLabels{v1alpha1.LabelComponent: v1alpha1.ComponentSigningKey})
		if err != nil {
			w.Fatalf("listing the mounted Secrets: %v", err)
		}
		for i := range mounted.Items {
			tokens = append(tokens, testoperator.Sign(w.TB, &mounted.Items[i], "alice")...)
		}
	}
	return tokens
}

// wantGood fails the benchmark unless the webhook lets all of them pass.
func wantGood(p *testoperator.Process, https *http.Client, tokens []string) {
	p.Helper()
	for _, token := range tokens {
		p.WantVerdict(https, token, http.StatusOK)
	}
}

// keepAsking verifies the tokens, one after another and over again, until the returned function is called, which fails the
// benchmark if a single one was refused meanwhile.
func keepAsking(p *testoperator.Process, https *http.Client, tokens []string) (stop func()) {
	p.Helper()
	const pause = 10 * time.Millisecond
	done := make(chan struct{})
	var asking sync.WaitGroup
	asked, refused := 0, 0
	asking.Go(func() {
		ticker := time.NewTicker(pause)
		defer ticker.Stop()
		for {
			select {
			case <-done:
				return
			case <-ticker.C:
			}
			if code, header, err := p.Verify(https, tokens[asked%len(tokens)]); err != nil || code != http.StatusOK {
				if refused++; refused == 1 {
					p.Errorf("verdict %d %s, error %v on a good token", code, header.Get("WWW-Authenticate"), err)
				}
			}
			asked++
		}
	})
	return func() {
		p.Helper()
		close(done)
		asking.Wait()
		if refused > 0 || asked == 0 {
			p.Fatalf("%d of %d good tokens were refused", refused, asked)
		}
	}
}
