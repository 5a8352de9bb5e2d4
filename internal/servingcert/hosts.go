package servingcert

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
)

// maxHosts bounds the names in one certificate. Handshakes carry them all.
const maxHosts = 100

// Hosts are the DNS names and IP addresses that a certificate is good for, each once, in order.
type Hosts []string

// ParseHosts checks names and addresses as a person writes them. A name can begin with "*.".
func ParseHosts(values []string) (Hosts, error) {
	var hosts Hosts
	for _, value := range values {
		host, err := parseHost(strings.TrimSpace(value))
		if err != nil {
			return nil, err
		}
		hosts = append(hosts, host)
	}
	if len(hosts) == 0 || len(hosts) > maxHosts {
		return nil, fmt.Errorf("a serving certificate is for 1 to %d names and addresses, not for %d", maxHosts, len(hosts))
	}
	return hosts.sorted(), nil
}

func parseHost(value string) (string, error) {
	if address, err := netip.ParseAddr(value); err == nil {
		if address.Zone() != "" {
			return "", fmt.Errorf("the address %q of the serving certificate has a zone, which certificates cannot have", value)
		}
		return address.Unmap().String(), nil
	}
	name := strings.ToLower(strings.TrimSuffix(value, "."))
	check := validation.IsDNS1123Subdomain
	if strings.HasPrefix(name, "*.") {
		check = validation.IsWildcardDNS1123Subdomain
	}
	if problems := check(name); len(problems) > 0 {
		return "", fmt.Errorf("the host %q of the serving certificate is neither an address nor a DNS name: %w",
			value, errors.New(problems[0]))
	}
	return name, nil
}

// hostsOf returns what a certificate is good for.
func hostsOf(certificate *x509.Certificate) Hosts {
	hosts := slices.Clone(Hosts(certificate.DNSNames))
	for _, raw := range certificate.IPAddresses {
		if address, ok := netip.AddrFromSlice(raw); ok {
			hosts = append(hosts, address.Unmap().String())
		}
	}
	return hosts.sorted()
}

func (h Hosts) sorted() Hosts {
	slices.Sort(h)
	return slices.Compact(h)
}

// without returns the hosts that others lack.
func (h Hosts) without(others Hosts) Hosts {
	return slices.DeleteFunc(slices.Clone(h), func(host string) bool { return slices.Contains(others, host) })
}

// with returns all hosts of both, unless they are too many for one certificate.
func (h Hosts) with(others Hosts) Hosts {
	both := slices.Concat(h, others).sorted()
	if len(both) > maxHosts {
		return h
	}
	return both
}

// fill writes the hosts into a template.
func (h Hosts) fill(template *x509.Certificate) {
	for _, host := range h {
		if address := net.ParseIP(host); address != nil {
			template.IPAddresses = append(template.IPAddresses, address)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
}
