package kubernetes_test

import (
	"context"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/session"
	"github.com/keyturn/keyturn/internal/session/kubernetes"
	"github.com/keyturn/keyturn/internal/session/storetest"
)

// BenchmarkRefresh is a refresh as a client sees it, without HTTP: each presents the successor of the one before. The
// API server and etcd run on the same machine.
func BenchmarkRefresh(b *testing.B) {
	b.Run("sequential", func(b *testing.B) {
		s := newShop(b)
		token := s.open(b).RefreshToken.Reveal()
		b.ReportAllocs()
		for b.Loop() {
			token = s.refresh(b, token).RefreshToken.Reveal()
		}
		perSecond(b)
		b.ReportMetric(float64(s.requests.total())/float64(b.N), "requests/op")
	})
	b.Run("repeated", func(b *testing.B) {
		s := newShop(b)
		token := s.open(b).RefreshToken.Reveal()
		s.refresh(b, token)
		s.requests.take()
		for b.Loop() {
			s.refresh(b, token)
		}
		perSecond(b)
		b.ReportMetric(float64(s.requests.total())/float64(b.N), "requests/op")
	})
	b.Run("parallel", func(b *testing.B) {
		s := newShop(b)
		s.issuer.Policy.MaxPerSubject = session.LargestMaxPerSubject
		const clients = 32
		var mu sync.Mutex
		var tokens []string
		for range clients {
			tokens = append(tokens, s.open(b).RefreshToken.Reveal())
		}
		b.SetParallelism(clients / runtime.GOMAXPROCS(0))
		b.ResetTimer()
		b.RunParallel(func(pb *testing.PB) {
			mu.Lock()
			token := tokens[0]
			tokens = tokens[1:]
			mu.Unlock()
			for pb.Next() {
				token = s.refresh(b, token).RefreshToken.Reveal()
			}
		})
		perSecond(b)
	})
}

// BenchmarkSweep is DeleteExpired over 10,000 live sessions, of which there is nothing to delete.
func BenchmarkSweep(b *testing.B) {
	c, _ := newClient(b)
	namespace := newNamespace(b, c)
	store := kubernetes.New(c, kubernetes.InNamespaces(namespace))
	sessions := make([]*session.Session, 10_000)
	for i := range sessions {
		sessions[i] = newSession(namespace, "alice")
	}
	createMany(b, store, sessions...)
	b.ReportAllocs()
	for b.Loop() {
		if deleted, err := store.DeleteExpired(context.Background(), storetest.Noon.Add(-time.Hour)); err != nil || deleted != 0 {
			b.Fatal(deleted, err)
		}
	}
}

func perSecond(b *testing.B) {
	b.Helper()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "refreshes/s")
}
