package operator

import (
	"io"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"

	"k8s.io/client-go/tools/clientcmd"
)

// connection is a line to the API server that can be cut. The certificates go through it unseen.
type connection struct {
	listener net.Listener
	target   string
	cut      atomic.Bool
	// refused counts the connections that were asked for while it was cut.
	refused atomic.Int64

	mu   sync.Mutex
	open map[net.Conn]struct{}
}

// through returns a kubeconfig whose server is reached by the connection, and the connection.
func through(t *testing.T, kubeconfig []byte) ([]byte, *connection) {
	t.Helper()
	config, err := clientcmd.Load(kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &connection{listener: listener, open: map[net.Conn]struct{}{}}
	for _, cluster := range config.Clusters {
		server, err := url.Parse(cluster.Server)
		if err != nil {
			t.Fatal(err)
		}
		c.target, server.Host = server.Host, listener.Addr().String()
		cluster.Server = server.String()
	}
	changed, err := clientcmd.Write(*config)
	if err != nil {
		t.Fatal(err)
	}
	go c.accept()
	t.Cleanup(func() {
		_ = listener.Close()
		c.setCut(true)
	})
	return changed, c
}

// setCut ends all connections and refuses new ones, or lets them through again.
func (c *connection) setCut(cut bool) {
	c.cut.Store(cut)
	if !cut {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for conn := range c.open {
		_ = conn.Close()
	}
}

func (c *connection) accept() {
	for {
		near, err := c.listener.Accept()
		if err != nil {
			return
		}
		if c.cut.Load() {
			c.refused.Add(1)
			_ = near.Close()
			continue
		}
		far, err := net.Dial("tcp", c.target)
		if err != nil {
			_ = near.Close()
			continue
		}
		c.keep(near, far)
		go c.copy(near, far)
		go c.copy(far, near)
	}
}

func (c *connection) keep(ends ...net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, end := range ends {
		c.open[end] = struct{}{}
		if c.cut.Load() { // it was cut meanwhile
			_ = end.Close()
		}
	}
}

func (c *connection) copy(to, from net.Conn) {
	_, _ = io.Copy(to, from) // ends with an error whenever it is cut
	_ = to.Close()
	_ = from.Close()
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.open, from)
}
