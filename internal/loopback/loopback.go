// Package loopback finds TCP ports for programs that must be told where to listen before they start, which tests and the
// demo do with the operator and with gateways.
//
// To listen on port 0, close, and pass the number on is not enough: the kernel gives such ports to anybody who asks for
// any, and to outgoing connections, before the program has started. So these ports lie below those that the kernel gives
// away, and blocks of them belong to this process for as long as it runs.
package loopback

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"syscall"
)

const (
	// first is the lowest port of the lowest block. From 30000 there are node ports of Kubernetes, and from 32768 those
	// that Linux gives away (ip(7), ip_local_port_range; elsewhere from 49152, RFC 6335, Section 6).
	first  = 20000
	blocks = 100
	// size counts the port that marks a block as taken, its lowest.
	size = 100
)

// mine are the blocks of this process.
var mine struct {
	sync.Mutex
	// marks listen on the lowest port of each, and never accept. They are kept, because a listener that nobody refers to
	// is closed.
	marks []net.Listener
	// next is the port to try next, and end the first that is not in the last block any more.
	next, end int
}

// Port returns a TCP port of 127.0.0.1 on which nobody listens, and which nobody is given again while this process runs,
// neither by it nor by another that asks this package. A process can have some 10,000 in its life.
//
// An error says that this process and others have all blocks, or what keeps it from listening at all.
func Port() (string, error) {
	mine.Lock()
	defer mine.Unlock()
	for {
		if mine.next == mine.end {
			if err := claim(); err != nil {
				return "", err
			}
		}
		port := mine.next
		mine.next++
		listener, err := listen(port)
		switch {
		case errors.Is(err, syscall.EADDRINUSE):
		case err != nil:
			return "", fmt.Errorf("looking for a free port: %w", err)
		default:
			return strconv.Itoa(port), listener.Close()
		}
	}
}

// claim takes a block that no process has.
func claim() error {
	for _, block := range rand.Perm(blocks) { //nolint:gosec // Any order will do, as long as processes do not all begin with the same.
		base := first + block*size
		mark, err := listen(base)
		switch {
		case errors.Is(err, syscall.EADDRINUSE):
		case err != nil:
			return fmt.Errorf("looking for free ports: %w", err)
		default:
			mine.marks = append(mine.marks, mark)
			mine.next, mine.end = base+1, base+size
			return nil
		}
	}
	return fmt.Errorf("looking for free ports: other processes have all of 127.0.0.1 from %d to %d", first, first+blocks*size-1)
}

func listen(port int) (net.Listener, error) {
	return net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
}
