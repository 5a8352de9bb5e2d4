package remotejwks

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"syscall"
)

// ErrInternalAddress is the reason of a connection that was refused because of where it would lead.
var ErrInternalAddress = errors.New("the address is internal: if the issuer really is there, name its network in --allow-internal-addresses")

// addressGuard keeps whoever may write a TokenIssuer from making the operator connect to what only the operator can
// reach: the node, the cluster, the metadata service of a cloud. It looks at the address that is about to be dialed, not
// at a name, so that a name that resolves differently the second time gains nothing.
type addressGuard struct {
	allowed []netip.Prefix
}

// control is the ControlContext of a net.Dialer: it runs for each address that a name resolved to, after the socket is
// made and before it connects.
func (g addressGuard) control(_ context.Context, _, address string, _ syscall.RawConn) error {
	target, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("reading the address to connect to: %w", err)
	}
	return g.check(target.Addr())
}

func (g addressGuard) check(address netip.Addr) error {
	address = address.Unmap().WithZone("")
	effective := embedded(address)
	for _, prefix := range g.allowed {
		if prefix.Contains(address) || prefix.Contains(effective) {
			return nil
		}
	}
	if !internal(address) && !internal(effective) {
		return nil
	}
	return fmt.Errorf("refused to connect to %s: %w", address, ErrInternalAddress)
}

// internal is true for what is not a public unicast address.
func internal(address netip.Addr) bool {
	if !address.IsGlobalUnicast() || address.IsPrivate() {
		return true // unspecified, loopback, link-local, multicast, broadcast; RFC 1918 and fc00::/7
	}
	for _, prefix := range notPublic {
		if prefix.Contains(address) {
			return true
		}
	}
	return false
}

// notPublic are the networks of the IANA special-purpose registries (RFC 6890) that IsGlobalUnicast lets pass.
var notPublic = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),       // this network; 0.0.0.0 reaches the own host
	netip.MustParsePrefix("100.64.0.0/10"),   // carrier-grade NAT (RFC 6598), used for pods and nodes by some clouds
	netip.MustParsePrefix("192.0.0.0/24"),    // IETF protocol assignments, with a metadata service of one cloud
	netip.MustParsePrefix("192.0.2.0/24"),    // documentation
	netip.MustParsePrefix("198.18.0.0/15"),   // benchmarks
	netip.MustParsePrefix("198.51.100.0/24"), // documentation
	netip.MustParsePrefix("203.0.113.0/24"),  // documentation
	netip.MustParsePrefix("240.0.0.0/4"),     // reserved
	netip.MustParsePrefix("::/96"),           // IPv4-compatible (deprecated, RFC 4291 section 2.5.5.1)
	netip.MustParsePrefix("64:ff9b:1::/48"),  // NAT64 of a local network (RFC 8215): the IPv4 address can be anywhere in it
	netip.MustParsePrefix("100::/64"),        // discard
	netip.MustParsePrefix("2001::/32"),       // Teredo: carries IPv4 addresses in disguise
	netip.MustParsePrefix("2001:db8::/32"),   // documentation
	netip.MustParsePrefix("fec0::/10"),       // site-local (deprecated, RFC 3879)
}

// The networks whose addresses carry an IPv4 address.
var (
	nat64      = netip.MustParsePrefix("64:ff9b::/96")    // in the last four bytes (RFC 6052 section 2.1)
	translated = netip.MustParsePrefix("::ffff:0:0:0/96") // in the last four bytes (RFC 2765 section 2.1)
	sixToFour  = netip.MustParsePrefix("2002::/16")       // in bytes 2 to 5 (RFC 3056 section 2)
)

// embedded returns the IPv4 address that a packet to this IPv6 address ends at, or the address itself.
func embedded(address netip.Addr) netip.Addr {
	b := address.As16()
	switch {
	case nat64.Contains(address), translated.Contains(address):
		return netip.AddrFrom4([4]byte(b[12:16]))
	case sixToFour.Contains(address):
		return netip.AddrFrom4([4]byte(b[2:6]))
	}
	return address
}
