package server

import (
	"net/http"
	"net/netip"
	"strings"
)

// forwarding reads X-Forwarded-* headers. Anybody can send them, so they count only when the peer, the other end of
// the TCP connection, is a configured proxy.
type forwarding struct {
	trusted []netip.Prefix
}

// client is the address of whoever made the request: the peer, or behind trusted proxies the rightmost address of
// X-Forwarded-For that is not one of them. Each proxy appends the address of its own peer, so what stands further left
// is hearsay. The zero Addr stands for an unknown peer.
func (f forwarding) client(r *http.Request) netip.Addr {
	client := peer(r)
	hops := r.Header["X-Forwarded-For"]
	for line := len(hops) - 1; line >= 0; line-- {
		rest := hops[line]
		for more := true; more; {
			if !f.trusts(client) {
				return client
			}
			var hop string
			rest, hop, more = cutLast(rest)
			address, ok := parseHop(hop)
			if !ok {
				return client
			}
			client = address
		}
	}
	return client
}

// host is the host that the client asked for: the Host header, or from a trusted proxy X-Forwarded-Host. Of a list the
// last counts, because that is the one which the trusted proxy itself wrote.
func (f forwarding) host(r *http.Request) string {
	forwarded := r.Header["X-Forwarded-Host"]
	if len(forwarded) == 0 || !f.trusts(peer(r)) {
		return r.Host
	}
	_, host, _ := cutLast(forwarded[len(forwarded)-1])
	return host
}

func (f forwarding) trusts(address netip.Addr) bool {
	for _, prefix := range f.trusted {
		if prefix.Contains(address) {
			return true
		}
	}
	return false
}

// peer is the other end of the TCP connection, or the zero Addr, which no prefix contains.
func peer(r *http.Request) netip.Addr {
	address, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return address.Addr().Unmap().WithZone("")
}

// parseHop reads one element of X-Forwarded-For: an address, with a port where a proxy adds it.
func parseHop(hop string) (netip.Addr, bool) {
	if address, err := netip.ParseAddr(hop); err == nil {
		return address.Unmap().WithZone(""), true
	}
	address, err := netip.ParseAddrPort(hop)
	if err != nil {
		return netip.Addr{}, false
	}
	return address.Addr().Unmap().WithZone(""), true
}

// cutLast takes the last element off a comma-separated list. more says that there is another in front.
func cutLast(list string) (rest, last string, more bool) {
	if comma := strings.LastIndexByte(list, ','); comma >= 0 {
		return list[:comma], strings.TrimSpace(list[comma+1:]), true
	}
	return "", strings.TrimSpace(list), false
}
