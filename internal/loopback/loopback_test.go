package loopback

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"
)

// askVariable makes this test binary a process that asks for one port, and keeps its block until its stdin ends.
const askVariable = "KEYTURN_TEST_ASK_FOR_PORT"

func TestMain(m *testing.M) {
	if os.Getenv(askVariable) == "" {
		os.Exit(m.Run())
	}
	port, err := Port()
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	runtime.GC() // It would close a listener that nobody refers to.
	runtime.GC()
	fmt.Println(port)
	_, _ = os.Stdin.Read(make([]byte, 1))
}

// TestPortsAreNotGivenTwice asks for more than a block has.
func TestPortsAreNotGivenTwice(t *testing.T) {
	asked := make(chan string, size*3)
	for range cap(asked) {
		go func() {
			port, err := Port()
			if err != nil {
				t.Error(err)
			}
			asked <- port
		}()
	}
	given := map[string]bool{}
	for range cap(asked) {
		port := <-asked
		if given[port] {
			t.Fatalf("port %s is given twice", port)
		}
		given[port] = true
		if number, err := strconv.Atoi(port); err != nil || number <= first || number >= first+blocks*size || number%size == 0 {
			t.Fatalf("port %s is given: want one from %d that marks no block", port, first)
		}
	}
}

// TestUsedPortsAreSkipped asks for ports while somebody listens on the next one.
func TestUsedPortsAreSkipped(t *testing.T) {
	ask(t)
	used := mine.next
	if used == mine.end {
		ask(t)
		used = mine.next
	}
	listener, err := listen(used)
	if err != nil {
		t.Skipf("skipped: somebody else listens on port %d", used)
	}
	defer func() { _ = listener.Close() }()
	if port := ask(t); port == strconv.Itoa(used) {
		t.Errorf("port %s is given, on which somebody listens", port)
	}
}

// TestProcessesHaveBlocksOfTheirOwn runs as many processes as make a collision all but certain if they did not: fewer
// than one in 10,000 runs would have none.
func TestProcessesHaveBlocksOfTheirOwn(t *testing.T) {
	blocksTaken := map[int]bool{}
	for range 41 {
		port := askAnother(t)
		base := port - port%size
		if blocksTaken[base] {
			t.Errorf("port %d is in a block that another process has", port)
		}
		blocksTaken[base] = true
	}
}

// askAnother starts a process that asks for a port and goes on running until the end of the test.
func askAnother(t *testing.T) int {
	t.Helper()
	command := exec.Command(os.Args[0])
	command.Env = append(os.Environ(), askVariable+"=yes")
	stdin, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = stdin.Close(), command.Wait() })
	answer := make([]byte, 256)
	read, _ := stdout.Read(answer)
	port, err := strconv.Atoi(strings.TrimSpace(string(answer[:read])))
	if err != nil {
		t.Fatalf("the process says %q", answer[:read])
	}
	return port
}

func ask(t *testing.T) string {
	t.Helper()
	port, err := Port()
	if err != nil {
		t.Fatal(err)
	}
	return port
}
