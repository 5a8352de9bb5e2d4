package remotejwks

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
)

func TestAddressGuard(t *testing.T) {
	tests := map[string]struct {
		addresses []string
		refused   bool
	}{
		"public":                     {[]string{"8.8.8.8", "172.32.0.1", "100.128.0.1", "192.0.1.1", "2606:4700::1111"}, false},
		"public through NAT64":       {[]string{"64:ff9b::808:808"}, false},
		"public through 6to4":        {[]string{"2002:808:808::1"}, false},
		"loopback":                   {[]string{"127.0.0.1", "127.9.9.9", "::1"}, true},
		"unspecified":                {[]string{"0.0.0.0", "0.1.2.3", "::"}, true},
		"private":                    {[]string{"10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "fc00::1", "fd12::1"}, true},
		"link-local and metadata":    {[]string{"169.254.169.254", "169.254.0.1", "fe80::1", "fe80::1%eth0", "192.0.0.192"}, true},
		"carrier-grade NAT":          {[]string{"100.64.0.1", "100.127.255.255"}, true},
		"multicast and broadcast":    {[]string{"224.0.0.1", "239.255.255.255", "ff02::1", "255.255.255.255"}, true},
		"reserved and documentation": {[]string{"240.0.0.1", "192.0.2.1", "198.51.100.1", "203.0.113.1", "198.18.0.1", "2001:db8::1"}, true},
		"IPv4-mapped":                {[]string{"::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254"}, true},
		"IPv4-compatible":            {[]string{"::10.0.0.1", "::127.0.0.1"}, true},
		"IPv4-translated":            {[]string{"::ffff:0:10.0.0.1"}, true},
		"private through NAT64":      {[]string{"64:ff9b::10.0.0.1", "64:ff9b::169.254.169.254", "64:ff9b:1::808:808"}, true},
		"private through 6to4":       {[]string{"2002:a00:1::1", "2002:7f00:1::1"}, true},
		"Teredo":                     {[]string{"2001:0:1::1"}, true},
		"site-local and discard":     {[]string{"fec0::1", "100::1"}, true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			for _, text := range test.addresses {
				err := addressGuard{}.check(netip.MustParseAddr(text))
				if got := errors.Is(err, ErrInternalAddress); got != test.refused {
					t.Errorf("check(%s) = %v, want refused: %t", text, err, test.refused)
				}
				if err != nil && !strings.Contains(err.Error(), "--allow-internal-addresses") {
					t.Errorf("check(%s) = %v, which does not name the flag that allows it", text, err)
				}
			}
		})
	}
}

func TestAddressGuardAllowed(t *testing.T) {
	guard := addressGuard{allowed: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("fd00:1::/32")}}
	for text, allowed := range map[string]bool{
		"10.1.2.3":          true,
		"::ffff:10.1.2.3":   true,
		"64:ff9b::10.1.2.3": true,
		"2002:a01:203::1":   true,
		"fd00:1::5":         true,
		"10.2.0.1":          false,
		"::ffff:10.2.0.1":   false,
		"64:ff9b::10.2.0.1": false,
		"fd00:2::5":         false,
	} {
		if err := guard.check(netip.MustParseAddr(text)); (err == nil) != allowed {
			t.Errorf("check(%s) = %v, want allowed: %t", text, err, allowed)
		}
	}
}

func TestAddressGuardControl(t *testing.T) {
	guard := addressGuard{}
	if err := guard.control(t.Context(), "tcp4", "8.8.8.8:443", nil); err != nil {
		t.Errorf("a public address is refused: %v", err)
	}
	if err := guard.control(t.Context(), "tcp6", "[fe80::1%lo]:443", nil); !errors.Is(err, ErrInternalAddress) {
		t.Errorf("error for a link-local address with a zone = %v, want ErrInternalAddress", err)
	}
	if err := guard.control(t.Context(), "unix", "/run/containerd.sock", nil); err == nil {
		t.Error("an address that is not an IP address and a port is let through")
	}
}
