import java.net.InetAddress;
import java.net.ServerSocket;

/** Prints two ports of this machine that are free now. */
public class Ports {
    public static void main(String[] args) throws Exception {
        InetAddress here = InetAddress.getByName("127.0.0.1");
        try (ServerSocket one = new ServerSocket(0, 1, here);
                ServerSocket other = new ServerSocket(0, 1, here)) {
            System.out.println(one.getLocalPort() + " " + other.getLocalPort());
        }
    }
}
