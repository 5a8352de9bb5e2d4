package server

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/keyturn/keyturn/internal/token"
)

var (
	_ manager.Runnable               = (*Server)(nil)
	_ manager.LeaderElectionRunnable = (*Server)(nil)
	_ healthz.Checker                = (*Server)(nil).Ready
)

func TestEveryReplicaServes(t *testing.T) {
	if New(testOptions()).NeedLeaderElection() {
		t.Error("only the leader would serve")
	}
}

func TestHTTP2(t *testing.T) {
	server := start(t, Options{})
	request, err := http.NewRequest(http.MethodPost, "https://"+server.address+"/verify//x/../y?audience=evil", strings.NewReader("body"))
	if err != nil {
		t.Fatal(err)
	}
	request.Header = bearer("good")
	client := server.client()
	for range 2 {
		response, err := client.Do(request.Clone(context.Background()))
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		if response.ProtoMajor != 2 || response.StatusCode != http.StatusOK {
			t.Errorf("%s %d, want HTTP/2 and 200", response.Proto, response.StatusCode)
		}
		if got := response.Header.Values(headerSession); len(got) != 1 || got[0] != "s-1" {
			t.Errorf("%s = %q", headerSession, got)
		}
		request.Body = http.NoBody
	}
}

// After its context has ended, the server is not ready but still serves, for ShutdownDelay; then it waits for what is
// under way.
func TestDrain(t *testing.T) {
	fake := clocktesting.NewFakeClock(time.Now()) // the certificate is made with it
	slow := &slowVerifier{arrived: make(chan struct{}), proceed: make(chan struct{}), fake: newFakeVerifier()}
	server := start(t, Options{Clock: fake, ShutdownDelay: time.Minute, Verifier: slow})
	const request = "GET /verify HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer good\r\n\r\n"
	early := server.dial(t)
	if _, err := io.WriteString(early, "GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if answer := readAnswer(t, bufio.NewReader(early), request); answer.Close {
		t.Error("a connection is closed before the drain")
	}

	server.stop()
	eventually(t, "the server is not ready", func() bool { return server.Ready(nil) != nil })
	eventually(t, "the delay has begun", fake.HasWaiters)
	if _, err := io.WriteString(early, request); err != nil {
		t.Fatal(err)
	}
	<-slow.arrived // one request is under way when the delay ends
	if answer := server.raw(t, "GET /nothing HTTP/1.1\nHost: a\n\n"); !answer.Close {
		t.Error("a connection is kept during the drain")
	}
	fake.Step(time.Minute)
	eventually(t, "the listener is closed", func() bool {
		conn, err := net.Dial("tcp", server.address)
		if err == nil {
			_ = conn.Close()
		}
		return err != nil
	})
	close(slow.proceed)
	if answer := readAnswer(t, bufio.NewReader(early), request); answer.StatusCode != http.StatusOK {
		t.Errorf("the request under way got %d", answer.StatusCode)
	}
	if err := <-server.ended; err != nil {
		t.Errorf("Start: %v", err)
	}
}

// slowVerifier waits until it may proceed.
type slowVerifier struct {
	once             sync.Once
	arrived, proceed chan struct{}
	fake             *fakeVerifier
}

func (v *slowVerifier) Verify(raw string, want token.Want) token.Result {
	v.once.Do(func() { close(v.arrived) })
	<-v.proceed
	return v.fake.Verify(raw, want)
}

// A replica that knows nothing yet refuses connections, so that a gateway turns to another one.
func TestNothingIsListenedOnTooEarly(t *testing.T) {
	listener := loopback(t)
	address := listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	for name, known := range map[string]bool{"it comes to know everything": true, "it ends before": false} {
		options := testOptions()
		awaited := make(chan bool)
		options.BindAddress, options.ShutdownDelay = address, -1
		options.Await = func(context.Context) bool { return <-awaited }
		server := New(options)
		ctx, stop := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- server.Start(ctx) }()
		if conn, err := net.Dial("tcp", address); err == nil {
			_ = conn.Close()
			t.Errorf("%s: a connection is accepted before", name)
		}
		if server.Ready(nil) == nil {
			t.Errorf("%s: ready before", name)
		}
		awaited <- known
		if known {
			eventually(t, "it is ready", func() bool { return server.Ready(nil) == nil })
		}
		stop()
		if err := <-ended; err != nil {
			t.Errorf("%s: Start: %v", name, err)
		}
		<-server.Served()
	}
}

func TestReadyBeforeTheStart(t *testing.T) {
	if err := New(testOptions()).Ready(nil); err == nil {
		t.Error("ready before it has started")
	}
}

func TestConnectionsAreBounded(t *testing.T) {
	const bound, clients = 2, 16
	counting := &countingListener{Listener: loopback(t)}
	server := start(t, Options{MaxConnections: bound, Listener: counting})
	var done sync.WaitGroup
	for range clients {
		done.Go(func() {
			client := server.client()
			defer client.CloseIdleConnections()
			response, err := client.Get("https://" + server.address + "/nothing")
			if err != nil {
				t.Error(err)
				return
			}
			_ = response.Body.Close()
		})
	}
	done.Wait()
	if most := counting.most.Load(); most > bound {
		t.Errorf("%d connections were open at once, want at most %d", most, bound)
	}
}

// countingListener notes how many of its connections were open at once.
type countingListener struct {
	net.Listener
	open, most atomic.Int64
}

func (l *countingListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	open := l.open.Add(1)
	for most := l.most.Load(); open > most && !l.most.CompareAndSwap(most, open); most = l.most.Load() {
	}
	return &countedConn{Conn: conn, closed: sync.OnceFunc(func() { l.open.Add(-1) })}, nil
}

type countedConn struct {
	net.Conn
	closed func()
}

func (c *countedConn) Close() error {
	c.closed()
	return c.Conn.Close()
}

func TestStartFails(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	for name, change := range map[string]func(*Options){
		"the address is taken":      func(o *Options) { o.BindAddress = taken.Addr().String() },
		"a key without certificate": func(o *Options) { o.TLS.KeyFile = "tls.key" },
		"no such certificate":       func(o *Options) { o.TLS = TLSOptions{CertFile: "no.crt", KeyFile: "no.key"} },
		"nowhere to write":          func(o *Options) { o.TLS.CertOut = t.TempDir() + "/no/ca.crt" },
		"metrics that are there":    func(o *Options) { o.Registerer = registered(t) },
	} {
		t.Run(name, func(t *testing.T) {
			options := testOptions()
			options.BindAddress = "127.0.0.1:0"
			change(&options)
			ctx, cancel := context.WithTimeout(context.Background(), hangLimit)
			defer cancel()
			if err := New(options).Start(ctx); err == nil || errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Start: %v", err)
			} else if !strings.Contains(err.Error(), "; ") {
				t.Errorf("the error does not say what to do: %v", err)
			}
		})
	}
}

// registered is a registry that another server has its metrics in.
func registered(t *testing.T) prometheus.Registerer {
	t.Helper()
	registry := prometheus.NewRegistry()
	if err := newMetrics().register(registry); err != nil {
		t.Fatal(fmt.Errorf("the first server: %w", err))
	}
	return registry
}
