// Package gateway measures what /verify costs the server over HTTPS, on connections that are kept, as gateways keep
// them.
package gateway

import (
	"fmt"
	"os"
	"testing"

	"github.com/keyturn/keyturn/test/bench/stats"
)

// connections is how many there are at once, or with HTTP/2 how many requests on the one.
const connections = 8

// TestMain makes this program the server too: a benchmark starts it anew with serverVariable set.
func TestMain(m *testing.M) {
	if kind := os.Getenv(serverVariable); kind != "" {
		if err := serve(kind, os.Getenv(certificateVariable)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// BenchmarkVerifyOverHTTPS counts the CPU time of the server's process alone, the kernel's work for it included. All
// servers get the same requests, over TLS 1.3, on 8 connections (HTTP/2: on one, 8 at a time):
//
//	bare     a handler that answers 200 and nothing else, behind the limits that connections have in production
//	headers  the same with the headers that an answer to a gateway has
//	verify   the server of production, with tokens that it has seen
//
// procs is the server's GOMAXPROCS. It reports for each of them "requests/cpu-s", the requests for each second of CPU
// time, and "ns-cpu/request", the same the other way round; "verify/bare" and "verify/headers" are the median ratios of
// requests/cpu-s. ns/op is the whole measurement.
func BenchmarkVerifyOverHTTPS(b *testing.B) {
	certificate := newCertificate(b)
	for _, protocol := range []string{"http1", "http2"} {
		for _, procs := range []int{1, 2} {
			b.Run(fmt.Sprintf("%s/procs=%d", protocol, procs), func(b *testing.B) {
				compare(b, certificate, protocol, procs)
			})
		}
	}
}

func compare(b *testing.B, certificate certificateFiles, protocol string, procs int) {
	requests, measurements := 1000, 40
	if testing.Short() {
		requests, measurements = 80, 3
	}
	kinds := []string{"verify", "headers", "bare"}
	clients, costs := map[string]*client{}, map[string][]float64{}
	for _, kind := range kinds {
		server := startServer(b, kind, certificate, procs)
		clients[kind] = newClient(b, server, certificate, protocol)
		clients[kind].tokens = clients["verify"].tokens
		clients[kind].send(b, max(requests, len(clients[kind].tokens)))
	}
	for b.Loop() {
		// They take turns, and not too long ones, so that whatever disturbs the machine disturbs all of them.
		for range measurements {
			for _, kind := range kinds {
				costs[kind] = append(costs[kind], clients[kind].cost(b, requests))
			}
		}
	}
	for _, kind := range kinds {
		cost := stats.Median(costs[kind])
		b.ReportMetric(cost, kind+"-ns-cpu/request")
		b.ReportMetric(1e9/cost, kind+"-requests/cpu-s")
		if kind == "verify" {
			continue
		}
		ratios := make([]float64, len(costs[kind]))
		for i := range ratios {
			ratios[i] = costs[kind][i] / costs["verify"][i]
		}
		b.ReportMetric(stats.Median(ratios), "verify/"+kind)
	}
}
