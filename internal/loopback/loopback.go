// Package loopback finds TCP ports for programs that must be told where to listen before they start, which tests and the
// demo do with the operator and with gateways.
//
// To listen on port 0, close, and pass the number on is not enough: the kernel gives such ports to anybody who asks for
// any, and to outgoing connections, before the program has started. So these ports lie below those that the kernel gives
// away, and a block of them belongs to this process for as long as it runs.
package loopback

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
)

const (
	// first is the lowest port of the lowest block. From 30000 there are node ports of Kubernetes, and from 32768 those
	// that Linux gives away (ip(7), ip_local_port_range; elsewhere from 49152, RFC 6335, Section 6).
	first  = 20000
	blocks = 100
	// size counts the port that marks a block as taken, its lowest.
	size = 100
)

// mine is the block of this process.
var mine struct {
	sync.Mutex
	// mark listens on the lowest port of the block, and never accepts.
	mark net.Listener
	// base is that port, and last the one that was given out last.
	base, last int
}

// Port returns a TCP port of 127.0.0.1 on which nobody listens. No process that asks this package is given the same, and
// this process not before it has been given the 98 others of its block.
//
// The errors are that other processes hold all of the 100 blocks, and that somebody listens on every port of this one.
func Port() (string, error) {
	mine.Lock()
	defer mine.Unlock()
	if mine.mark == nil {
		if err := claim(); err != nil {
			return "", err
		}
	}
	for range size - 1 {
		if mine.last++; mine.last == mine.base+size {
			mine.last = mine.base + 1
		}
		listener, err := listen(mine.last)
		if err != nil {
			continue // Somebody listens there.
		}
		return strconv.Itoa(mine.last), listener.Close()
	}
	return "", fmt.Errorf("no port of 127.0.0.1 is free from %d to %d", mine.base+1, mine.base+size-1)
}

// claim takes a block that no other process has.
func claim() error {
	var causes []error
	for _, block := range rand.Perm(blocks) { //nolint:gosec // Any order will do, as long as processes do not all begin with the same.
		base := first + block*size
		mark, err := listen(base)
		if err != nil {
			causes = append(causes, err)
			continue
		}
		mine.mark, mine.base, mine.last = mark, base, base
		return nil
	}
	return fmt.Errorf("looking for ports of 127.0.0.1 from %d to %d: %w", first, first+blocks*size-1, errors.Join(causes...))
}

func listen(port int) (net.Listener, error) {
	return net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
}
