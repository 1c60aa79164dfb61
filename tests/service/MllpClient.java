// Sends one message over MLLP and TLS, as an engine on the JVM does it, and prints the answer's bytes.
// java MllpClient.java PORT PROTOCOL AUTHORITY.pem OWN.p12 MESSAGE        (the password of OWN.p12 is "test")

import java.io.ByteArrayOutputStream;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLParameters;
import javax.net.ssl.SSLSocket;
import javax.net.ssl.TrustManagerFactory;

public class MllpClient {
    private static final int START = 0x0b, END = 0x1c, RETURN = 0x0d;

    public static void main(String[] given) throws Exception {
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(own(Path.of(given[3])).getKeyManagers(), trusted(Path.of(given[2])).getTrustManagers(), null);
        byte[] message = Files.readAllBytes(Path.of(given[4]));
        try (SSLSocket socket =
                (SSLSocket) context.getSocketFactory().createSocket("127.0.0.1", Integer.parseInt(given[0]))) {
            SSLParameters parameters = socket.getSSLParameters();
            parameters.setProtocols(new String[] {given[1]});
            parameters.setEndpointIdentificationAlgorithm("HTTPS"); // the name in the certificate is checked, too
            socket.setSSLParameters(parameters);
            socket.setSoTimeout(10_000);
            ByteArrayOutputStream frame = new ByteArrayOutputStream();
            frame.write(START);
            frame.write(message);
            frame.write(END);
            frame.write(RETURN);
            socket.getOutputStream().write(frame.toByteArray());
            System.out.write(answer(socket.getInputStream()));
            System.out.flush();
            System.err.println(socket.getSession().getProtocol());
        }
    }

    private static byte[] answer(InputStream in) throws Exception {
        if (in.read() != START) throw new IllegalStateException("no start block");
        ByteArrayOutputStream body = new ByteArrayOutputStream();
        for (int read = in.read(); read != END; read = in.read()) {
            if (read < 0) throw new IllegalStateException("no end block");
            body.write(read);
        }
        if (in.read() != RETURN) throw new IllegalStateException("no carriage return");
        return body.toByteArray();
    }

    private static KeyManagerFactory own(Path file) throws Exception {
        KeyStore store = KeyStore.getInstance("PKCS12");
        try (InputStream in = Files.newInputStream(file)) {
            store.load(in, "test".toCharArray());
        }
        KeyManagerFactory keys = KeyManagerFactory.getInstance(KeyManagerFactory.getDefaultAlgorithm());
        keys.init(store, "test".toCharArray());
        return keys;
    }

    private static TrustManagerFactory trusted(Path file) throws Exception {
        KeyStore store = KeyStore.getInstance(KeyStore.getDefaultType());
        store.load(null, null);
        try (InputStream in = Files.newInputStream(file)) {
            store.setCertificateEntry("authority", CertificateFactory.getInstance("X.509").generateCertificate(in));
        }
        TrustManagerFactory trust = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        trust.init(store);
        return trust;
    }
}
