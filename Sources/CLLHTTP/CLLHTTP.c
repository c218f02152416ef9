int CLLHTTP_placeholder;
