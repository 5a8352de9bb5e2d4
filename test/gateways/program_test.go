package gateways

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/testenv/testoperator"
)

// stopTimeout is how long a gateway has to end.
const stopTimeout = 5 * time.Second

// lookup finds a program, or skips the test and says so.
func lookup(t *testing.T, name, install string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("SKIPPED: there is no %s on the PATH, so its configuration was not tried: %s", name, install)
	}
	return path
}

// start runs a program that listens on an address, waits until it does, and ends it with the test.
func start(t *testing.T, address, program string, arguments ...string) {
	t.Helper()
	log := &testoperator.Log{}
	command := exec.Command(program, arguments...)
	home := t.TempDir()
	command.Dir, command.Stdout, command.Stderr = home, log, log
	command.WaitDelay = stopTimeout
	command.Env = append(os.Environ(), "HOME="+home, "XDG_DATA_HOME="+home, "XDG_CONFIG_HOME="+home)
	if err := command.Start(); err != nil {
		t.Fatalf("starting %s: %v", program, err)
	}
	ended := make(chan error, 1)
	go func() { ended <- command.Wait() }()
	var exit error
	t.Cleanup(func() {
		if exit == nil {
			// Asked rather than killed: nginx has processes of its own to end.
			_ = command.Process.Signal(syscall.SIGTERM)
			select {
			case exit = <-ended:
			case <-time.After(stopTimeout):
				_ = command.Process.Kill()
				exit = <-ended
			}
		}
		if t.Failed() {
			t.Logf("what %s says:\n%s", program, log)
		}
	})
	testoperator.Eventually(t, program+" listening", func() error {
		select {
		case err := <-ended:
			exit = errors.Join(fmt.Errorf("it has ended: %s", log), err)
		default:
		}
		if exit != nil {
			t.Fatalf("%s: %v", program, exit)
		}
		connection, err := net.Dial("tcp", address)
		if err != nil {
			return err
		}
		return connection.Close()
	})
}
