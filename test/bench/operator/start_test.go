package operator

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/keyturn/keyturn/api/v1alpha1"
	"github.com/keyturn/keyturn/internal/testenv/testoperator"
)

// BenchmarkStart is how long an operator takes from the start of its process until it is ready, as the only replica, and
// what it needs at rest. 10k-revocations is with 10,000 of them, or 500 in a short run.
func BenchmarkStart(b *testing.B) {
	for _, size := range []struct {
		name                         string
		issuers, revocations, starts int
	}{
		{"2-issuers", 2, 0, sized(5, 1)},
		{"100-issuers", 100, 0, sized(9, 3)},
		{"10k-revocations", 2, sized(10_000, 500), sized(3, 1)},
	} {
		b.Run(size.name, func(b *testing.B) {
			w := newWorld(b, 10)
			first := testoperator.Run(w.Administrator, w.User(), "--log-level=info")
			issuers := w.newIssuers("shop", size.issuers)
			makeAll(w, issuers)
			w.awaitReady(issuers)
			first.Kill()
			makeAll(w, w.newRevocations(issuers[0], size.revocations))
			for b.Loop() {
				w.measureStarts(b, size.starts)
			}
		})
	}
}

// newRevocations returns so many, each of a token that was never issued.
func (w *world) newRevocations(issuer *v1alpha1.TokenIssuer, count int) []*v1alpha1.TokenRevocation {
	revocations := make([]*v1alpha1.TokenRevocation, count)
	for i := range revocations {
		revocations[i] = newRevocation(issuer, fmt.Sprintf("unknown-%d", i))
	}
	return revocations
}

func newRevocation(issuer *v1alpha1.TokenIssuer, tokenID string) *v1alpha1.TokenRevocation {
	return &v1alpha1.TokenRevocation{
		ObjectMeta: metav1.ObjectMeta{Namespace: issuer.Namespace, Name: tokenID},
		Spec:       v1alpha1.TokenRevocationSpec{IssuerRef: v1alpha1.IssuerReference{Name: issuer.Name}, TokenID: tokenID},
	}
}

// measureStarts starts an operator so many times, one after another, and reports the medians.
func (w *world) measureStarts(b *testing.B, starts int) {
	b.Helper()
	var ready, answered, after []time.Duration
	memory := 0.0
	for i := range starts {
		a := testoperator.NewAdministrator(b) // with a Lease of its own, so that nobody has to be waited for
		kubeconfig, line := through(b, a.User())
		p := testoperator.Run(a, kubeconfig, "--log-level=info")
		at := awaitReadyz(p)
		answer := *line.answered.Load()
		ready = append(ready, at.Sub(p.Started))
		answered = append(answered, answer.Sub(p.Started))
		after = append(after, at.Sub(answer))
		if i == starts-1 {
			time.Sleep(time.Duration(sized(8, 3)) * time.Second) // it leads, and has looked at everything once
			memory = resident(p)
		}
		p.Kill()
	}
	b.ReportMetric(milliseconds(quantile(ready, 0.5)), "ready-ms")
	b.ReportMetric(milliseconds(quantile(answered, 0.5)), "apiserver-answers-ms")
	b.ReportMetric(milliseconds(quantile(after, 0.5)), "ready-after-answer-ms")
	b.ReportMetric(memory, "idle-rss-MB")
}

// awaitReadyz asks for /readyz over and over, and returns when it was first good.
func awaitReadyz(p *testoperator.Process) time.Time {
	p.Helper()
	for time.Since(p.Started) < deadline {
		p.Alive()
		if code, _ := p.Status("/readyz"); code == http.StatusOK {
			return time.Now()
		}
		time.Sleep(2 * time.Millisecond)
	}
	p.Fatalf("/readyz is not good after %s", deadline)
	return time.Time{}
}

// line is a connection to the API server that remembers when that answered first.
type line struct{ answered atomic.Pointer[time.Time] }

// through returns a kubeconfig whose server is reached by the line. The certificates go through it unseen.
func through(b *testing.B, kubeconfig []byte) ([]byte, *line) {
	b.Helper()
	config, err := clientcmd.Load(kubeconfig)
	if err != nil {
		b.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = listener.Close() })
	l := &line{}
	for _, cluster := range config.Clusters {
		server, err := url.Parse(cluster.Server)
		if err != nil {
			b.Fatal(err)
		}
		go l.accept(listener, server.Host)
		server.Host = listener.Addr().String()
		cluster.Server = server.String()
	}
	changed, err := clientcmd.Write(*config)
	if err != nil {
		b.Fatal(err)
	}
	return changed, l
}

func (l *line) accept(listener net.Listener, target string) {
	for {
		near, err := listener.Accept()
		if err != nil {
			return
		}
		far, err := net.Dial("tcp", target)
		if err != nil {
			_ = near.Close()
			continue
		}
		go join(far, near)
		go func() {
			var first [1]byte
			if _, err := far.Read(first[:]); err == nil {
				now := time.Now()
				l.answered.CompareAndSwap(nil, &now)
				_, _ = near.Write(first[:])
			}
			join(near, far)
		}()
	}
}

// join copies until either end is closed, and closes both.
func join(to, from net.Conn) {
	_, _ = io.Copy(to, from) // ends with an error whenever the operator does
	_ = to.Close()
	_ = from.Close()
}
