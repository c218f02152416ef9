int COpenSSL_placeholder;
